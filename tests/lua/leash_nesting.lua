-- leash.call: how calls nest, where they can be made, and that nothing is left behind.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_nesting.lua

local check = require "support.check"
local leash = require "leash"
local test, equal, ok, contains = check.test, check.equal, check.ok, check.contains
local unpack = table.unpack or unpack
local calls = require "support.calls"
local SHORT, LONG, spin, stopped, clean_test = calls.SHORT, calls.LONG, calls.spin, calls.stopped, calls.clean_test
local has_hook, healthy = calls.has_hook, calls.healthy

-- Nesting ---------------------------------------------------------------------------------------------------------------------

clean_test("the inner limit is shorter", function()
  local fine, inner, err, after = leash.call(LONG, function()
    local inner, err = leash.call(SHORT, spin)
    return inner, err, "goes on"
  end)
  equal(fine, true)
  stopped("timeout", inner, err)
  equal(after, "goes on")
end)

clean_test("the outer limit is shorter", function()
  local after = false
  local err = stopped("timeout", leash.call(SHORT, function()
    leash.call(LONG, spin)
    after = true
  end))
  contains(err.message, "timeout of 20ms")
  equal(after, false)
end)

clean_test("both limits are the same", function()
  for _ = 1, 5 do
    stopped("timeout", leash.call(SHORT, function()
      while true do leash.call(SHORT, spin) end
    end))
  end
end)

-- Where protected calls nest without end (in a coroutine, from 5.2 on), a stop goes past all of them at once, and past none that is outside of the call.
clean_test("a tower of protected calls between calls with limits, in one coroutine", function()
  local function tower() repeat pcall(tower) until false end
  local co = coroutine.wrap(function()
    local seen = {}
    for i, limited in ipairs {
      function() return leash.call(0.1, tower) end,
      function() return leash.call(LONG, leash.call, 0.1, tower) end,
      function() return leash.call(0.1, function() while true do pcall(leash.call, LONG, tower) end end) end,
    } do
      local caught, outcome = pcall(function() return select(2, pcall(function()
        local fine, err, inner = limited()
        coroutine.yield(i)
        return { fine, err, inner }
      end)) end)
      equal(caught, true)
      seen[i] = outcome
      equal(select(2, pcall(error, "plain", 0)), "plain")
    end
    return seen
  end)
  local before = os.clock()
  equal(co(), 1) equal(co(), 2) equal(co(), 3)
  local seen = co()
  ok(os.clock() - before < 5)
  stopped("timeout", seen[1][1], seen[1][2])
  equal(seen[2][1], true)
  stopped("timeout", seen[2][2], seen[2][3])
  stopped("timeout", seen[3][1], seen[3][2])
end)

clean_test("each reason inside each other", function()
  local function work()
    local t = {}
    while true do t[#t + 1] = { #t } end
  end
  local short = {
    timeout = { timeout = SHORT }, cpu = { cpu = SHORT }, instructions = { instructions = 20000 }, memory = { memory = 2 ^ 19 },
  }
  local long = {
    timeout = { timeout = LONG }, cpu = { cpu = LONG }, instructions = { instructions = 1e15 }, memory = { memory = 2 ^ 40 },
  }
  for reason, limits in pairs(short) do
    local idle = (reason == "timeout" or reason == "cpu") and spin or work
    for _, other in pairs(long) do
      -- The inner one is reached, and the outer call goes on.
      local fine, inner, err = leash.call(other, function() return leash.call(limits, idle) end)
      equal(fine, true)
      stopped(reason, inner, err)
      -- The outer one is reached, and the inner call does not go on.
      local after = false
      stopped(reason, leash.call(limits, function()
        leash.call(other, idle)
        after = true
        idle()
      end))
      equal(after, false)
    end
  end
end)

clean_test("three deep, the one in the middle", function()
  local trail = ""
  local fine, middle, err = leash.call(LONG, function()
    local fine, err = leash.call(SHORT, function()
      leash.call(LONG, spin)
      trail = trail .. "inner "
    end)
    trail = trail .. "middle "
    return fine, err
  end)
  equal(fine, true)
  stopped("timeout", middle, err)
  equal(trail, "middle ")
end)

clean_test("a stop passes through protected calls and handlers", function()
  local seen = 0
  local function handler() seen = seen + 1 end
  stopped("timeout", leash.call(SHORT, function()
    while true do
      xpcall(function() leash.call(LONG, function() pcall(leash.call, LONG, spin) end) end, handler)
      pcall(pcall, leash.call, LONG, spin)
    end
  end))
  equal(seen, 0)
end)

clean_test("very deep, as far as the stack goes", function()
  local deepest = 0
  local function nest(depth)
    deepest = depth
    local fine, err = leash.call(LONG, nest, depth + 1)
    return fine, err
  end
  nest(1)
  ok(deepest > 50, deepest)
  local function level(depth)
    if depth == 0 then spin() end
    return leash.call(LONG, level, depth - 1)
  end
  stopped("timeout", leash.call(SHORT, level, 40))
end)

clean_test("one after the other, many times", function()
  for i = 1, 20000 do
    local fine, value = leash.call(LONG, function() return i end)
    if not fine or value ~= i then error("call " .. i) end
  end
  for _ = 1, 300 do stopped("instructions", leash.call({ instructions = 300 }, spin)) end
  for _ = 1, 300 do stopped("timeout", leash.call(0, spin)) end
end)

-- Where it is called ----------------------------------------------------------------------------------------------------------

clean_test("in a coroutine", function()
  local co = coroutine.wrap(function()
    local results = { leash.call(SHORT, spin) }
    coroutine.yield(unpack(results))
    return leash.call(LONG, function() return "fine" end)
  end)
  stopped("timeout", co())
  equal(select(2, co()), "fine")
end)

clean_test("around coroutines that were made before, outside", function()
  local co = coroutine.create(function()
    while true do coroutine.yield() spin() end
  end)
  coroutine.resume(co)
  stopped("timeout", leash.call(SHORT, coroutine.resume, co))
  equal(coroutine.status(co), "dead")
end)

clean_test("in a coroutine, around which another limit is", function()
  stopped("timeout", leash.call(SHORT, function()
    while true do
      coroutine.wrap(function() leash.call(LONG, function() coroutine.wrap(spin)() end) end)()
    end
  end))
end)

clean_test("in metamethods, iterators, comparisons, replacements", function()
  local object = setmetatable({}, {
    __index = function() return select(2, leash.call(SHORT, spin)) end,
    __add = function() return leash.call(LONG, function() return 1 end) and 5 end,
  })
  equal(leash.reason(object.x), "timeout")
  equal(object + 1, 5)
  local n = 0
  for _ in function() n = n + 1 return n < 4 and leash.call(LONG, function() end) or nil end do end
  equal(n, 4)
  local t = { 3, 1, 2 }
  table.sort(t, function(a, b) return select(2, leash.call(LONG, function() return a < b end)) end)
  equal(table.concat(t), "123")
  equal((("abc"):gsub(".", function(c) return select(2, leash.call(LONG, string.upper, c)) end)), "ABC")
  stopped("timeout", leash.call(SHORT, table.sort, { 3, 1, 2 }, function() while true do leash.call(SHORT / 10, spin) end end))
end)

clean_test("around require, load and their kind", function()
  package.preload.endless_module = spin
  stopped("timeout", leash.call(SHORT, require, "endless_module"))
  package.preload.endless_module = function() return { fine = true } end
  local _, value = leash.call(LONG, require, "endless_module")
  package.preload.endless_module, package.loaded.endless_module = nil, nil
  -- (5.1 and LuaJIT leave a mark when a loader fails, and say "loop or previous error".)
  ok(type(value) == "table" and value.fine or tostring(value):find "loop or previous error", value)
  stopped("timeout", leash.call(SHORT, load, function() while true do end end))
  stopped("timeout", leash.call(SHORT, string.gsub, "x", "x", spin))
  stopped("timeout", leash.call(SHORT, pcall, spin))
  stopped("timeout", leash.call(SHORT, xpcall, spin, spin))
  stopped("timeout", leash.call(SHORT, coroutine.wrap(spin)))
end)

clean_test("in a finalizer", function()
  local function finalized(limits)
    local result
    local function finalizer() result = { leash.call(limits, spin) } end
    if newproxy then
      getmetatable(newproxy(true)).__gc = finalizer
    else
      setmetatable({}, { __gc = finalizer })
    end
    collectgarbage()
    collectgarbage()
    return unpack(result)
  end
  local function told(fine, message)
    equal(fine, false)
    contains(message, "cannot be limited in a finalizer")
  end
  -- LuaJIT: where code has to run interpreted, that cannot be arranged in a finalizer.
  if leash.info().jit == "interpreted" then
    told(finalized(SHORT))
  else
    stopped("timeout", finalized(SHORT))
  end
  if jit then
    told(finalized { instructions = 1e6 })
  else
    stopped("instructions", finalized { instructions = 1e6 })
  end
end)

clean_test("under a watch of corowatch, and the other way round", function()
  local corowatch = require "corowatch"
  local co = corowatch.watch(coroutine.create(function()
    while true do leash.call(LONG, spin) end
  end), 0.05)
  local fine, message = corowatch.resume(co)
  equal(fine, false)
  contains(message, "exceeded its allowed running time")
  stopped("timeout", leash.call(SHORT, function()
    corowatch.resume(corowatch.watch(coroutine.create(spin), LONG))
  end))
  -- A watch goes on counting when a call inside is over.
  co = corowatch.watch(coroutine.create(function()
    stopped("timeout", leash.call(SHORT, spin))
    spin()
  end), 0.1)
  contains(select(2, corowatch.resume(co)), "exceeded its allowed running time")
end)

-- Hooks of the user -----------------------------------------------------------------------------------------------------------

test("the user's hook is back afterwards", function()
  local calls = 0
  local function hook() calls = calls + 1 end
  debug.sethook(hook, "", 1000)
  for _, limits in ipairs { { timeout = SHORT }, { cpu = SHORT }, { instructions = 10000 }, { memory = 2 ^ 20 }, { timeout = 0 } } do
    leash.call(limits, function()
      local t = {}
      while true do t[#t + 1] = { #t } end
    end)
    local f, mask, count = debug.gethook()
    equal(f, hook)
    equal(mask, "")
    equal(count, 1000)
  end
  local before = calls
  for _ = 1, 10000 do end
  ok(calls > before or jit) -- compiled code does not call it
  debug.sethook()
  healthy()
end)

test("a hook that was set by what is stopped goes with it", function()
  local function set() debug.sethook(spin, "", 1) spin() end
  stopped("timeout", leash.call(SHORT, set))
  equal(has_hook(), false)
  local function mine() end
  debug.sethook(mine, "r", 500)
  stopped("timeout", leash.call(SHORT, set))
  stopped("timeout", leash.call(SHORT, function() debug.sethook() spin() end))
  stopped("timeout", select(2, leash.call(LONG, function() return leash.call(SHORT, set) end)))
  local f, mask, count = debug.gethook()
  equal(f, mine)
  equal(mask, "r")
  equal(count, 500)
  debug.sethook()
  -- What ends by itself keeps what it has set.
  equal(leash.call(LONG, debug.sethook, mine, "c"), true)
  equal(debug.gethook(), mine)
  debug.sethook()
  healthy()
end)

clean_test("the hook that a coroutine has is back, too", function()
  local function hook() end
  local co = coroutine.create(function()
    debug.sethook(hook, "c")
    while true do
      leash.call(SHORT, spin)
      coroutine.yield(debug.gethook())
    end
  end)
  for _ = 1, 3 do
    local _, f, mask = coroutine.resume(co)
    equal(f, hook)
    equal(mask, "c")
  end
  if not jit then equal(has_hook(), false) end -- LuaJIT has one hook for all
  debug.sethook()
end)

clean_test("no hook is left in coroutines that live on", function()
  local cos = {}
  stopped("timeout", leash.call(SHORT, function()
    for i = 1, 100 do
      cos[i] = coroutine.create(function() while true do coroutine.yield(has_hook()) end end)
      coroutine.resume(cos[i])
    end
    spin()
  end))
  for _, co in ipairs(cos) do
    if coroutine.status(co) == "suspended" then
      equal(has_hook(co), false)
      equal(select(2, coroutine.resume(co)), false)
    end
  end
end)

-- Calls that are left without a return ----------------------------------------------------------------------------------------

if check.engine == "lua55" then
  clean_test("a coroutine that closes itself inside leaves nothing behind", function()
    for _, limits in ipairs { { timeout = SHORT }, { instructions = 5000 }, { memory = 2 ^ 20 } } do
      for _ = 1, 20 do
        coroutine.wrap(function()
          leash.call(limits, function() leash.call(limits, coroutine.close) end)
          error "not reached"
        end)()
      end
      -- None of those limits holds any more, and none of them is lost track of.
      equal(#("x"):rep(2 ^ 21), 2 ^ 21)
      local start = os.clock()
      while os.clock() < start + 3 * SHORT do end
      equal(leash.call(LONG, function() for _ = 1, 10000 do end end), true)
      collectgarbage()
    end
    local fine = leash.call(LONG, function()
      coroutine.wrap(function() leash.call(SHORT, coroutine.close) end)()
      local start = os.clock()
      while os.clock() < start + 3 * SHORT do end
    end)
    equal(fine, true)
    stopped("timeout", leash.call(SHORT, function()
      while true do
        coroutine.wrap(function() leash.call(LONG, coroutine.close) end)()
      end
    end))
  end)
end

-- Threads ---------------------------------------------------------------------------------------------------------------------

clean_test("several states on several threads", function()
  require "support.threads".each(4, 20, function(n)
    local leash = require "leash"
    local stops = 0
    for _ = 1, n do
      local fine, err = leash.call(0.005, function() while true do pcall(error) end end)
      if not fine and leash.reason(err) == "timeout" then stops = stops + 1 end
      if not leash.call(100, function() return 1 end) then error "not healthy" end
    end
    return stops
  end, function()
    stopped("timeout", leash.call(SHORT, spin))
  end)
end)

check.finish()
