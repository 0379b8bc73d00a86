-- leash.call with a warning: coroutines that are suspended inside.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_yield_warn.lua

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

if check.engine == "lua51" then
  clean_test("5.1: a yield across it is an error", function()
    local co = create(function()
      local fine, message = leash.call({ timeout = LONG, warn = LONG / 2, on_warn = error }, yield, 1)
      equal(fine, false)
      contains(message, "attempt to yield across")
      yield "alive"
    end)
    equal(select(2, resume(co)), "alive")
  end)
  check.finish()
  return
end

-- Limits whose on_warn notes where it is called, and gives the answers in turn.
local function noting(limits, ...)
  local answers, notes = { ... }, {}
  limits.on_warn = function(info)
    notes[#notes + 1] = { co = running(), info = info }
    return answers[#notes]
  end
  return limits, notes
end

-- A coroutine that is suspended in leash.call(limits, f), at the beginning of f. (On a busy machine a limit may be reached before it yields.)
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

-- Runs until the time that is left to be noticed is over: on LuaJIT nobody tells that a coroutine goes on.
local function work_for_long() wait(0.2) return "done" end

-- Not yet due -----------------------------------------------------------------------------------------------------------------

clean_test("values go both ways", function()
  for _, more in ipairs { {}, { memory = 2 ^ 40 }, { instructions = 1e12 }, { cpu = LONG, timeout = LONG } } do
    more.warn, more.on_warn = LONG / 2, error
    local co = coroutine.wrap(function(...)
      return "end", leash.call(more, function(...)
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
  end
end)

clean_test("errors, and yield itself", function()
  local object = {}
  local limits = { timeout = LONG, warn = LONG / 2, on_warn = print }
  local co = create(function()
    local fine, err = leash.call(limits, function() yield() error(object) end)
    equal(fine, false)
    equal(err, object)
    return leash.call(limits, yield, 1, 2)
  end)
  resume(co)
  equal(select(3, resume(co)), 2)
  local _, fine, a, b = resume(co, "a", "b")
  equal(fine, true)
  equal(a .. b, "ab")
end)

clean_test("the user's hook is back after a stop that comes after a yield", function()
  local function hook() end
  local co = create(function()
    debug.sethook(hook, "c")
    while true do
      local limits, notes = noting { timeout = 2 * SHORT, warn = SHORT }
      stopped("timeout", leash.call(limits, function() yield() debug.sethook() spin() end))
      equal(#notes, 1)
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

clean_test("due while it runs", function()
  local limits, notes = noting { timeout = 10 * SHORT, warn = SHORT }
  local co = begin(limits, spin)
  stopped("timeout", select(2, resume(co)))
  equal(notes[#notes].co, co)
  equal(notes[#notes].info.timeout, 10 * SHORT)
end)

-- Due while it is suspended ---------------------------------------------------------------------------------------------------

-- With some of these, others have to look at it while it is suspended.
local KINDS = { {}, { timeout = LONG }, { memory = 2 ^ 40 }, { instructions = 1e12 }, { cpu = LONG, timeout = LONG } }

local function copy(t)
  local new = {}
  for k, v in pairs(t) do new[k] = v end
  return new
end

clean_test("nobody else is warned, it is when it is resumed, once and there", function()
  for _, kind in ipairs(KINDS) do
    local limits, notes = noting(copy(kind))
    limits.warn = SHORT
    local co = begin(limits, function()
      work_for_long()
      yield "once more"
      return work_for_long()
    end)
    local before = #notes -- of those that came too late
    wait(3 * SHORT)
    equal(leash.call(LONG, wait, 2 * SHORT), true)
    equal(resume(create(function() return leash.call(LONG, wait, 2 * SHORT) end)), true)
    equal(#notes, before)
    equal(select(2, resume(co)), "once more")
    equal(#notes, before + 1)
    equal(notes[#notes].co, co)
    ok(notes[#notes].info.elapsed >= 5 * SHORT, tostring(notes[#notes].info.elapsed)) -- two threads run: CPU time is more than that
    wait(3 * SHORT)
    local _, fine, value = resume(co)
    equal(fine, true)
    equal(value, "done")
    equal(#notes, before + 1)
  end
end)

clean_test("the timeout has passed as well: the warning comes first, and decides", function()
  for _, kind in ipairs { {}, { memory = 2 ^ 40 } } do
    for _, answer in ipairs { true, 10, false } do
      local limits, notes = noting(copy(kind), answer)
      limits.timeout, limits.warn = 2 * SHORT, SHORT
      if answer == true then limits.timeout = 1.5 end
      local co = begin(limits, work_for_long)
      notes[1] = nil
      wait(1.1 * limits.timeout)
      local _, fine, value = resume(co)
      ok(#notes >= 1)
      equal(notes[1].co, co)
      if answer then
        equal(fine, true)
        equal(value, "done")
      else
        equal(#notes, 1)
        stopped("timeout", fine, value)
      end
    end
  end
end)

clean_test("a late on_warn has as long as it would have had", function()
  for _, answer in ipairs { 10, false } do
    local calls = 0
    local co = begin({ timeout = 30 * SHORT, warn = 20 * SHORT, on_warn = function() wait(SHORT) calls = calls + 1 return answer end }, work_for_long)
    wait(31 * SHORT)
    local _, fine, value = resume(co)
    equal(calls, 1) -- it has come to its end
    if answer then equal(fine, true) else stopped("timeout", fine, value) end
  end
end)

clean_test("f that returns at once", function()
  for _, timeout in ipairs { 2 * SHORT, LONG } do
    local limits, notes = noting({ timeout = timeout, warn = SHORT }, true, true, true)
    local co = begin(limits, function() return "fine" end)
    wait(5 * SHORT)
    local _, fine, value = resume(co)
    equal(fine, true)
    equal(value, "fine")
    if not jit then equal(notes[#notes].co, co) end
  end
  if not jit then
    local limits, notes = noting({ timeout = 2 * SHORT, warn = SHORT })
    local co = begin(limits, function() return "fine" end)
    wait(5 * SHORT)
    stopped("timeout", select(2, resume(co)))
    equal(notes[#notes].co, co)
  end
end)

clean_test("resumed for a moment at a time", function()
  for _, kind in ipairs { {}, { instructions = 1e12 } } do
    local limits, notes = noting(copy(kind))
    limits.timeout, limits.warn = 2 * SHORT, SHORT
    local co = begin(limits, function()
      while true do pcall(yield, "again") end
    end)
    local before = #notes
    wait(3 * SHORT)
    local until_, results = os.clock() + 20, {}
    repeat results = { resume(co) } until results[2] ~= "again" or os.clock() > until_
    stopped("timeout", unpack(results, 2, 3))
    equal(#notes, before + 1)
  end
end)

clean_test("a fresh start has all that again", function()
  local limits, notes = noting({ timeout = 10 * SHORT, warn = SHORT }, true, true)
  local co = begin(limits, function()
    for n = 1, 2 do
      repeat until #notes >= n
      yield(#notes)
    end
    spin()
  end)
  for i = #notes, 1, -1 do notes[i] = nil end
  for n = 1, 2 do
    wait(2 * SHORT)
    equal(select(2, resume(co)), n)
  end
  wait(11 * SHORT)
  stopped("timeout", select(2, resume(co)))
  equal(#notes, 3)
end)

-- Who is warned ---------------------------------------------------------------------------------------------------------------

-- A coroutine in two calls, suspended until all of it is over; what has been called, and what the calls have returned.
local function both_late(outer_answer, inner_answer)
  while true do
    local order, results = {}, {}
    local function limits(name, answer)
      return { timeout = 40 * SHORT, warn = SHORT, on_warn = function() order[#order + 1] = name if not order.over then return answer end end }
    end
    local co = create(function()
      results.outer = { leash.call(limits("outer", outer_answer), function()
        results.inner = { leash.call(limits("inner", inner_answer), function()
          yield()
          local first = table.concat(order, " ")
          work_for_long()
          order.over = true
          return first
        end) }
        return "outer"
      end) }
    end)
    resume(co)
    if #order == 0 then
      wait(41 * SHORT)
      equal(#order, 0)
      resume(co)
      equal(status(co), "dead")
      return order, results
    end
  end
end

clean_test("nested in one coroutine, both late: from the outermost inwards", function()
  local order, results = both_late(true, true)
  equal(order[1], "outer")
  equal(order[2], "inner")
  equal(results.outer[1], true)
  equal(results.inner[1], true)
  if not jit then equal(results.inner[2], "outer inner") end
  order, results = both_late(true, false)
  equal(order[1] .. order[2], "outerinner")
  equal(results.outer[1], true)
  stopped("timeout", unpack(results.inner))
  order, results = both_late(false, true)
  equal(table.concat(order, " "), "outer") -- what is inside goes with it
  equal(results.inner, nil)
  stopped("timeout", unpack(results.outer))
end)

clean_test("a call that ends takes those inside it along, unwarned, also if they are older", function()
  for _, kind in ipairs(KINDS) do
    local limits, notes = noting(copy(kind))
    limits.warn = 5 * SHORT
    local co
    repeat
      notes[1] = nil
      co = begin(limits, function() os.execute "sleep 0.3" spin() end)
    until #notes == 0
    stopped("timeout", leash.call(SHORT, function() resume(co) end))
    equal(#notes, 0)
    equal(status(co), "dead")
  end
end)

clean_test("two coroutines in turn: each is warned in its own", function()
  local cos, of = {}, {}
  for i = 1, 2 do
    local limits
    limits, of[i] = noting({ timeout = LONG, warn = i * 3 * SHORT })
    cos[i] = begin(limits, function()
      while #of[i] == 0 do yield() end
      return i
    end)
    of[i][1] = nil
  end
  local until_ = os.clock() + 20
  while os.clock() < until_ and (status(cos[1]) ~= "dead" or status(cos[2]) ~= "dead") do
    for i = 1, 2 do
      if status(cos[i]) ~= "dead" then equal(resume(cos[i]), true) end
    end
  end
  for i = 1, 2 do
    equal(#of[i], 1)
    equal(of[i][1].co, cos[i])
    ok(of[i][1].info.elapsed >= i * 3 * SHORT)
  end
end)

clean_test("what waits for one that it has resumed is warned there", function()
  local limits, notes = noting({ timeout = LONG, warn = SHORT })
  local inner = create(function() while #notes == 0 do end return "inner" end)
  local outer = begin(limits, function() return select(2, resume(inner)) end)
  notes[1] = nil
  wait(2 * SHORT)
  equal(select(3, resume(outer)), "inner")
  equal(#notes, 1)
  ok(notes[1].co == outer or notes[1].co == inner) -- PUC Lua: before it resumes the other one
end)

-- on_warn ---------------------------------------------------------------------------------------------------------------------

clean_test("an error in it is one of the code that runs", function()
  local function on_warn() error("oh", 0) end
  local co = begin({ timeout = LONG, warn = SHORT, on_warn = on_warn }, spin)
  wait(2 * SHORT)
  local _, fine, err = resume(co)
  equal(fine, false)
  equal(err, "oh")
  co = create(function()
    return leash.call({ timeout = 10 * SHORT, warn = SHORT, on_warn = on_warn }, function()
      equal(select(2, pcall(function() yield() spin() end)), "oh")
      spin()
    end)
  end)
  resume(co)
  wait(11 * SHORT) -- the time is over: caught or not, it ends
  stopped("timeout", select(2, resume(co)))
end)

clean_test("it cannot yield", function()
  local co = begin({ timeout = LONG, warn = SHORT, on_warn = function() yield "out" end }, spin)
  wait(2 * SHORT)
  local _, fine, message = resume(co)
  equal(fine, false)
  contains(message, "attempt to yield")
end)

clean_test("one that does not end is ended by the timeout", function()
  local co = begin({ timeout = 3 * SHORT, warn = SHORT, on_warn = spin }, spin)
  wait(2 * SHORT)
  stopped("timeout", select(2, resume(co)))
  co = begin({ warn = SHORT, on_warn = function() while true do pcall(error) end end }, spin)
  wait(2 * SHORT)
  stopped("timeout", leash.call(SHORT, resume, co))
end)

-- What is left behind ---------------------------------------------------------------------------------------------------------

clean_test("it is kept while the call is suspended, and goes with it", function()
  for _, kind in ipairs(KINDS) do
    local weak, called, all = setmetatable({}, { __mode = "k" }), 0, {}
    for i = 1, 500 do
      local limits = copy(kind)
      limits.warn, limits.on_warn = SHORT, function() called = called + i / i end
      weak[limits.on_warn] = true
      all[i] = create(function() leash.call(limits, function() leash.call(limits, yield, "begun") end) end)
      if select(2, resume(all[i])) ~= "begun" then all[i] = false end
    end
    collectgarbage() collectgarbage()
    called = 0
    wait(2 * SHORT)
    if not jit then
      for i = 1, 10 do
        if all[i] then resume(all[i]) end
      end
      ok(called >= 10, tostring(called))
    end
    all, called = nil, 0
    collectgarbage() collectgarbage()
    equal(next(weak), nil)
    equal(leash.call(LONG, wait, SHORT), true)
    equal(called, 0)
  end
end)

clean_test("ten thousand suspended calls at once cost those that run nothing", function()
  local all, warned = {}, 0
  for i = 1, 10000 do
    local limits = { timeout = LONG, warn = i % 2 == 0 and 0.01 or LONG / 2, on_warn = function() warned = warned + 1 end }
    all[i] = create(function() return leash.call(limits, function() yield() return i end) end)
    resume(all[i])
  end
  warned = 0
  wait(2 * SHORT)
  local start = os.clock()
  for _ = 1, 1000 do leash.call(LONG, math.abs, 10) end
  ok(os.clock() - start < 2)
  equal(warned, 0)
  for i = 1, 10000 do equal(select(3, resume(all[i])), i) end
  if not jit then ok(warned > 1000) end
end)

clean_test("no hook is left", function()
  local limits, notes = noting({ timeout = LONG, warn = SHORT })
  local co = begin(limits, function()
    wait(0.3)
    while true do yield(has_hook()) end
  end)
  wait(2 * SHORT)
  equal(select(2, resume(co)), false)
  ok(#notes > 0)
  if not jit then equal(has_hook(co), false) end
  wait(0.05)
  equal(has_hook(), false)
  equal(select(2, resume(co)), false)
end)

if coroutine.close then
  clean_test("one that is closed is not warned", function()
    for _, kind in ipairs(KINDS) do
      local limits, notes = noting(copy(kind))
      limits.warn = SHORT
      for _ = 1, 20 do
        local co = begin(limits, spin)
        equal(coroutine.close(co), true)
      end
      local before = #notes
      wait(3 * SHORT)
      equal(leash.call(LONG, wait, SHORT), true)
      equal(#notes, before)
    end
  end)
end

check.finish()
