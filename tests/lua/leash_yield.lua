-- leash.call: coroutines that are suspended inside a call.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_yield.lua

local check = require "support.check"
local leash = require "leash"
local equal, ok, contains = check.equal, check.ok, check.contains
local unpack = table.unpack or unpack
local calls = require "support.calls"
local SHORT, LONG, spin, stopped, clean_test = calls.SHORT, calls.LONG, calls.spin, calls.stopped, calls.clean_test
local has_hook = calls.has_hook
local create, resume, yield, status, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status, coroutine.running

local function wait(seconds)
  local until_ = os.clock() + seconds
  while os.clock() < until_ do end
end

local function work(n)
  local x = 0
  for i = 1, n do x = x + i % 7 end
  return x
end

if check.engine == "lua51" then
  clean_test("5.1: a yield across it is an error", function()
    local co = create(function()
      local fine, message = leash.call(LONG, yield, 1)
      equal(fine, false)
      contains(message, "attempt to yield across")
      yield "alive"
    end)
    equal(select(2, resume(co)), "alive")
  end)
  check.finish()
  return
end

-- A coroutine that is suspended in leash.call(limits, f), at the beginning of f. (On a busy machine the limit may be reached before it yields.)
local function begin(limits, f)
  while true do
    local co = create(function()
      return leash.call(limits, function()
        yield "begun"
        return f()
      end)
    end)
    local _, what = resume(co)
    if what == "begun" then return co end
  end
end

-- As pcall --------------------------------------------------------------------------------------------------------------------

clean_test("values go both ways", function()
  local co = coroutine.wrap(function(...)
    return "end", leash.call(LONG, function(...)
      local a, b = yield(...)
      local c = yield(a + b)
      return c, nil, yield()
    end, ...)
  end)
  equal(select("#", co(1, nil, 3)), 3)
  equal(co(20, 22), 42)
  equal(select("#", co "c"), 0)
  local results = { co(nil, 5) }
  equal(results[1], "end")
  equal(results[2], true)
  equal(results[3], "c")
  equal(results[6], 5)
end)

clean_test("yield itself may be what is called", function()
  local co = create(function() return leash.call(LONG, yield, 1, 2) end)
  equal(select(3, resume(co)), 2)
  local _, fine, a, b = resume(co, "a", "b")
  equal(fine, true)
  equal(a .. b, "ab")
end)

clean_test("an error after a yield", function()
  local object = {}
  local co = create(function()
    local fine, err = leash.call(LONG, function() yield() error(object) end)
    equal(fine, false)
    equal(err, object)
    fine, err = leash.call({ instructions = 1e6 }, function() yield() error "message" end)
    equal(fine, false)
    contains(err, "message")
    return "fine"
  end)
  resume(co) resume(co)
  equal(select(2, resume(co)), "fine")
end)

clean_test("f runs in the coroutine that has called", function()
  local co
  co = create(function()
    return leash.call(LONG, function()
      equal(running(), co)
      yield()
      equal(running(), co)
    end)
  end)
  equal(resume(co), true)
  equal(select(2, resume(co)), true)
end)

clean_test("nested in one coroutine", function()
  local co = create(function()
    return leash.call(LONG, function()
      yield(1)
      local fine, err = leash.call(SHORT, function()
        yield(2)
        spin()
      end)
      stopped("timeout", fine, err)
      yield(3)
      return "fine"
    end)
  end)
  equal(select(2, resume(co)), 1)
  equal(select(2, resume(co)), 2)
  equal(select(2, resume(co)), 3)
  local _, fine, value = resume(co)
  equal(fine, true)
  equal(value, "fine")
end)

clean_test("generators, many and interleaved", function()
  local function numbers(n)
    return coroutine.wrap(function()
      leash.call({ timeout = LONG, instructions = 1e9, memory = 2 ^ 40, cpu = LONG }, function()
        for i = 1, n do yield(i) end
      end)
    end)
  end
  local all, sum = {}, 0
  for i = 1, 50 do all[i] = numbers(100) end
  for _ = 1, 100 do
    for i = 1, 50 do sum = sum + all[i]() end
  end
  for i = 1, 50 do equal(all[i](), nil) end
  equal(sum, 50 * 5050)
end)

clean_test("where a yield is not possible, the call is an ordinary one", function()
  local function compare(a, b)
    return select(2, leash.call(LONG, function() return a < b end))
  end
  local co = create(function()
    local t = { 3, 1, 2 }
    table.sort(t, compare)
    yield(table.concat(t))
    local fine, message = leash.call(LONG, table.sort, { 1, 2, 3 }, function() yield() end)
    equal(fine, false)
    contains(message, "attempt to yield")
  end)
  equal(select(2, resume(co)), "123")
  equal(resume(co), true)
end)

-- Timeouts --------------------------------------------------------------------------------------------------------------------

clean_test("a timeout is wall time: running", function()
  local co = begin(SHORT, spin)
  stopped("timeout", select(2, resume(co)))
  equal(status(co), "dead")
end)

-- LuaJIT sees a coroutine that is resumed when it is too late only when it looks, and it looks every now and then.
local function resume_late(co)
  local until_ = os.clock() + 20
  while os.clock() < until_ do
    local results = { resume(co) }
    if results[2] ~= "again" then return unpack(results) end
  end
end

clean_test("reached while suspended: nobody else is stopped, it is when it is resumed", function()
  for _, limits in ipairs { { timeout = SHORT }, { timeout = SHORT, memory = 2 ^ 30 }, { timeout = SHORT, instructions = 1e12, cpu = LONG } } do
    local co = begin(limits, function()
      while true do pcall(spin) end
    end)
    wait(3 * SHORT)
    equal(leash.call(LONG, wait, 3 * SHORT), true)
    local err = stopped("timeout", select(2, resume(co)))
    ok(err.elapsed >= SHORT and err.elapsed < 10)
  end
end)

clean_test("reached while suspended, and resumed for a moment at a time", function()
  local co = begin(SHORT, function()
    while true do pcall(yield, "again") end
  end)
  wait(2 * SHORT)
  local fine, inner, err = resume_late(co)
  equal(fine, true)
  stopped("timeout", inner, err)
end)

clean_test("reached while suspended: f that returns at once does not save itself", function()
  local co = begin(SHORT, function() end)
  wait(2 * SHORT)
  stopped("timeout", select(2, resume(co)))
  co = create(function() return leash.call(SHORT, yield) end)
  resume(co)
  wait(2 * SHORT)
  stopped("timeout", select(2, resume(co)))
end)

clean_test("a long suspension and a long timeout", function()
  local co = create(function()
    return leash.call(LONG, function() yield() return work(1e5) end)
  end)
  resume(co)
  wait(3 * SHORT)
  local _, fine, value = resume(co)
  equal(fine, true)
  equal(value, work(1e5))
end)

-- Who stops where -------------------------------------------------------------------------------------------------------------

clean_test("a call around the resume ends everything in the coroutine, calls of its own included", function()
  local after = false
  local co = create(function()
    leash.call(LONG, function()
      yield()
      leash.call(LONG, function() while true do pcall(spin) end end)
    end)
    after = true
  end)
  resume(co)
  stopped("timeout", leash.call(SHORT, function() resume(co) spin() end))
  equal(after, false)
  equal(status(co), "dead")
end)

clean_test("the call of a coroutine ends it, and not the call around the resume", function()
  local co = begin(SHORT, spin)
  local fine, resumed, inner, err = leash.call(LONG, resume, co)
  equal(fine, true)
  equal(resumed, true)
  stopped("timeout", inner, err)
end)

clean_test("begun inside a call, resumed after its end, and inside another one", function()
  local co = create(function()
    return leash.call(LONG, function()
      while true do yield(work(1000)) end
    end)
  end)
  equal(leash.call(LONG, resume, co), true)
  for _ = 1, 3 do
    equal(leash.call({ instructions = 1e6 }, resume, co), true)
    equal(leash.call({ memory = 1e6 }, resume, co), true)
    equal(resume(co), true)
  end
  stopped("timeout", leash.call(SHORT, function() while true do resume(co) end end))
end)

clean_test("a call ends while others that began in it or before it are suspended", function()
  local inner, outer
  outer = create(function()
    return leash.call(LONG, function()
      inner = create(function() return leash.call(LONG, function() yield() return "inner" end) end)
      resume(inner)
      yield()
      return "outer"
    end)
  end)
  resume(outer)
  equal(select(3, resume(outer)), "outer")
  wait(SHORT)
  equal(select(3, resume(inner)), "inner")
end)

clean_test("resumed in turn by each other: who is inside whom changes", function()
  local a, b
  a = create(function()
    return leash.call(LONG, function()
      resume(b) -- a around b
      yield()
      spin() -- b around a
    end)
  end)
  b = create(function()
    local fine, err = leash.call(0.1, function()
      yield()
      resume(a)
    end)
    return fine, err
  end)
  resume(a)
  local fine, inner, err = resume(b)
  equal(fine, true)
  stopped("timeout", inner, err)
  equal(status(a), "dead")
end)

clean_test("an unrelated coroutine that is due does not stop what runs, and is not saved by it", function()
  local late = {}
  for i = 1, 20 do
    late[i] = begin(SHORT, spin)
  end
  local n = 0
  equal(leash.call(LONG, function()
    local until_ = os.clock() + 5 * SHORT
    while os.clock() < until_ do
      n = n + 1
      local fine = leash.call(LONG, work, 100)
      if not fine then error "stopped" end
    end
  end), true)
  for i = 1, 20 do stopped("timeout", select(2, resume(late[i]))) end
end)

clean_test("stops pass through coroutines that yield across calls in protected calls", function()
  stopped("timeout", leash.call(SHORT, function()
    while true do
      local co = create(function()
        while true do leash.call(LONG, function() while true do pcall(yield) end end) end
      end)
      for _ = 1, 10 do resume(co) end
    end
  end))
end)

-- What is counted -------------------------------------------------------------------------------------------------------------

clean_test("instructions: only what runs inside", function()
  local co = create(function()
    return leash.call({ instructions = 200000 }, function()
      for _ = 1, 10 do yield(work(100)) end
      return "fine"
    end)
  end)
  for _ = 1, 10 do
    equal(resume(co), true)
    work(1e5)
  end
  local _, fine, value = resume(co)
  equal(fine, true)
  equal(value, "fine")
end)

clean_test("instructions: a loop that yields all the time comes to its end", function()
  local co = create(function()
    return leash.call({ instructions = 1e6 }, function()
      while true do work(20) pcall(yield, "again") end
    end)
  end)
  local fine, inner, err = resume_late(co)
  equal(fine, true)
  stopped("instructions", inner, err)
  -- The same with something else in between, which takes longer than itself.
  co = create(function()
    return leash.call({ instructions = 20000 }, function()
      while true do work(10) yield "again" end
    end)
  end)
  for n = 1, 1e5 do
    local _, first, second = resume(co)
    if first ~= "again" then
      stopped("instructions", first, second)
      ok(n > 20)
      return
    end
    work(40)
  end
  error "never stopped"
end)

clean_test("memory: what is in use when it runs", function()
  local kept = {}
  local co = create(function()
    return leash.call({ memory = 2 ^ 20 }, function()
      yield()
      local t = {}
      while true do t[#t + 1] = { #t } end
    end)
  end)
  resume(co)
  for i = 1, 100000 do kept[i] = { i } end -- others are not refused
  equal(#("x"):rep(2 ^ 22), 2 ^ 22)
  kept = nil
  collectgarbage() collectgarbage()
  stopped("memory", select(2, resume(co)))
end)

clean_test("memory: a loop that yields all the time does not grow for ever", function()
  local t = {}
  local function grow()
    while true do
      for _ = 1, 20 do t[#t + 1] = { #t } end
      yield "again"
    end
  end
  -- Debian's LuaJIT of 2022 crashes when memory is refused to compiled code in a coroutine that yields (also in a call around its resume).
  if jit then jit.off(grow) end
  local co = create(function() return leash.call({ memory = 2 ^ 20 }, grow) end)
  local before = collectgarbage "count"
  local fine, inner, err = resume_late(co)
  equal(fine, true)
  stopped("memory", inner, err)
  ok(collectgarbage "count" - before < 8192)
  t = nil
end)

clean_test("cpu: a loop that yields all the time comes to its end", function()
  local co = create(function()
    return leash.call({ cpu = 0.05 }, function()
      while true do work(1000) yield "again" end
    end)
  end)
  local start = os.clock()
  local fine, inner, err
  repeat fine, inner, err = resume(co) until inner ~= "again"
  equal(fine, true)
  stopped("cpu", inner, err)
  ok(os.clock() - start < 5)
end)

clean_test("cpu: only what runs inside", function()
  local co = create(function()
    return leash.call({ cpu = 0.1 }, function()
      for _ = 1, 5 do yield() end
      return "fine"
    end)
  end)
  for _ = 1, 6 do
    local _, fine, value = resume(co)
    if fine ~= nil then equal(value, "fine") return end
    wait(0.06)
  end
  equal(select(2, resume(co)), true)
end)

-- What is left behind ---------------------------------------------------------------------------------------------------------

clean_test("suspended calls are collected with their coroutines", function()
  for _, limits in ipairs { { timeout = SHORT }, { timeout = LONG }, { instructions = 1e6 }, { memory = 2 ^ 30 }, { cpu = 1 } } do
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 1000 do
      local co = create(function() leash.call(limits, function() leash.call(limits, yield) end) end)
      resume(co)
      weak[co] = true
    end
    collectgarbage() collectgarbage()
    equal(next(weak), nil)
  end
  wait(3 * SHORT)
  equal(leash.call(LONG, work, 1e5), true)
  equal(has_hook(), false)
end)

clean_test("ten thousand suspended calls at once", function()
  local all = {}
  for i = 1, 10000 do
    all[i] = begin(i % 2 == 0 and 0.01 or LONG, function() return i, work(1000) end)
  end
  wait(2 * SHORT)
  local start = os.clock()
  for _ = 1, 1000 do leash.call(LONG, work, 10) end
  ok(os.clock() - start < 2)
  for i = 1, 10000 do
    local _, fine, value = resume(all[i])
    if i % 2 == 0 then stopped("timeout", fine, value) else equal(value, i) end
  end
end)

clean_test("no hook is left in coroutines that are suspended in a call", function()
  local cos = {}
  for i = 1, 20 do
    cos[i] = create(function() leash.call(LONG, function() while true do yield(has_hook()) end end) end)
    resume(cos[i])
  end
  for _ = 1, 3 do stopped("timeout", leash.call(SHORT, spin)) end
  for _, co in ipairs(cos) do
    if not jit then equal(has_hook(co), false) end
    equal(select(2, resume(co)), false)
  end
end)

-- A poke that came while the hooks were being taken away put them back.
clean_test("nor is one left where there are so many that others are asked for meanwhile", function()
  local cos = {}
  for i = 1, 3000 do cos[i] = begin(LONG) end
  for _ = 1, 20 do
    stopped("timeout", leash.call(SHORT / 10, spin))
    for _, co in ipairs(cos) do
      if not jit then equal(has_hook(co), false) end
    end
  end
end)

clean_test("the user's hook is back after a stop that comes after a yield", function()
  local function hook() end
  local co = create(function()
    debug.sethook(hook, "c")
    while true do
      stopped("timeout", leash.call(SHORT, function() yield() debug.sethook() spin() end))
      yield(debug.gethook())
    end
  end)
  for _ = 1, 3 do
    resume(co)
    local _, f, mask = resume(co)
    equal(f, hook)
    equal(mask, "c")
  end
  debug.sethook()
end)

if coroutine.close then
  clean_test("suspended calls go when their coroutines are closed", function()
    for _, limits in ipairs { { timeout = SHORT }, { instructions = 5000 }, { memory = 2 ^ 20 }, { cpu = SHORT } } do
      for _ = 1, 20 do
        local co = create(function() leash.call(limits, function() leash.call(limits, yield) end) end)
        resume(co)
        equal(coroutine.close(co), true)
        equal(status(co), "dead")
      end
      equal(#("x"):rep(2 ^ 21), 2 ^ 21)
      wait(2 * SHORT)
      equal(leash.call(LONG, work, 1e5), true)
    end
  end)

  clean_test("what a coroutine does while it is closed is under the limits around that", function()
    local chunk = [[
      local leash, yield, spin, limit = ...
      return function() leash.call(limit, function() local x <close> = setmetatable({}, { __close = spin }) yield() end) end]]
    local co = create(load(chunk)(leash, yield, spin, LONG))
    resume(co)
    stopped("timeout", leash.call(SHORT, coroutine.close, co))
  end)
end

clean_test("several states on several threads", function()
  require "support.threads".each(3, 20, function(n)
    local leash = require "leash"
    local stops = 0
    for _ = 1, n do
      local co = coroutine.create(function()
        return leash.call(0.005, function() coroutine.yield "begun" while true do pcall(error) end end)
      end)
      local _, fine, err = coroutine.resume(co)
      if fine == "begun" then _, fine, err = coroutine.resume(co) end
      if not fine and leash.reason(err) == "timeout" then stops = stops + 1 end
    end
    return stops
  end)
end)

check.finish()
