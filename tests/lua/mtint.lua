-- mtint, as far as one OS thread and one coroutine can test it. `mtint_coroutines.lua` and `mtint_threads.lua` have the rest.
--
--   LUA_PATH='target/modules/lua54/?.lua;tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/mtint.lua
--
-- Differences between the engines, and why:
--  * 5.1 and LuaJIT: `not_supported` for coroutines, as documented. The tests of coroutines run elsewhere only.
--  * LuaJIT: compiled code does not see hooks, so `support.mtint` switches the compiler off.
--  * 5.1, 5.2 and LuaJIT have no integers: ids are floats with whole values.

local check = require "support.check"
local mtint = require "mtint"
local test, equal, ok, raises, contains = check.test, check.equal, check.ok, check.raises, check.contains

local common = require "support.mtint"
local run_on, clean_test, coroutine_test = common.run_on, common.clean_test, common.coroutine_test

---------------------------------------------------------------------------------------------------------------- the module

test("the module has its functions, its errors and its names, and nothing else", function()
  local known = {
    id = "function", sethook = "function", interrupt = "function", interruptible = "function",
    error = "table", _VERSION = "string", _INFO = "string",
  }
  for name, value in pairs(mtint) do
    equal(type(value), known[name], name)
    known[name] = nil
  end
  equal(next(known), nil, "missing")
  contains(mtint._VERSION, "leash ")
  contains(mtint._INFO, "mtint")
  contains(mtint._INFO, check.engine)
end)

test("requiring it again, by either name, gives the same functions", function()
  equal(require "mtint", mtint)
  equal(require "leash.mtint".id, mtint.id)
end)

test("errors are named as documented", function()
  local names = {
    "interrupted", "interrupt", "not_supported", "unknown_object", "object_exists", "object_closed", "out_of_memory",
  }
  for _, name in ipairs(names) do
    equal(mtint.error[name], "mtint.error." .. name)
  end
  local count = 0
  for _ in pairs(mtint.error) do
    count = count + 1
  end
  equal(count, #names)
  -- The name that the documentation uses finds the error that is raised.
  ok(mtint.error.interrupted:match(mtint.error.interrupt))
end)

test("leash is the same engine", function()
  local leash = require "leash"
  contains(leash._VERSION, "leash ")
  equal(leash.id(), mtint.id())
  local info = leash.info()
  equal(info.engine, check.engine)
  contains(info.version, jit and "LuaJIT" or _VERSION)
  equal(info.hooks, jit and "state" or "coroutine")
  equal(info.jit, jit and "guarded" or "none")
  contains(raises("mtint.error.interrupted", function()
    leash.interrupt(mtint.id())
    run_on()
  end), "mtint.lua:")
  equal(leash.interrupt(1), false)
  raises("bad argument #1 to 'id'", function() local id = leash.id(1) return id end)
  raises("bad argument #1 to 'interrupt'", function() local done = leash.interrupt("x") return done end)
  -- Also on 5.1 and LuaJIT: only mtint has that limit.
  local co = coroutine.create(function() while true do end end)
  ok(leash.interrupt(leash.id(co)))
  local fine, message = coroutine.resume(co)
  equal(fine, false)
  contains(message, "mtint.error.interrupted")
end)

test("leash.on_interrupt is mtint.sethook, for coroutines of every engine", function()
  local leash = require "leash"
  local count, other = 0, 0
  local function handler() count = count + 1 end
  local co = coroutine.create(function()
    coroutine.yield()
    while count == 0 do end
    return "went on"
  end)
  coroutine.resume(co)
  equal(leash.on_interrupt(co, handler), nil)
  equal(leash.on_interrupt(function() other = other + 1 end), nil)
  ok(leash.interrupt(leash.id(co)))
  equal(select(2, coroutine.resume(co)), "went on")
  equal(count, 1)
  equal(other, 0)
  equal(leash.on_interrupt(co, nil), handler)
  equal(leash.on_interrupt(co, nil), nil)
  ok(leash.interrupt(leash.id()))
  while other == 0 do end
  equal(count, 1)
  ok(leash.on_interrupt(nil))
  -- The running coroutine is meant if none is named, by nil or not at all.
  local inside = coroutine.wrap(function()
    leash.on_interrupt(handler)
    equal(leash.on_interrupt(nil, nil), handler)
  end)
  inside()
  raises("bad argument #1 to 'on_interrupt'", function() local r = leash.on_interrupt() return r end)
  raises("bad argument #1 to 'on_interrupt'", function() local r = leash.on_interrupt(1) return r end)
  raises("bad argument #2 to 'on_interrupt'", function() local r = leash.on_interrupt(co, 1) return r end)
end)

------------------------------------------------------------------------------------------------------------------------ ids

test("an id is a whole number that a Lua number holds, and stays", function()
  local id = mtint.id()
  equal(type(id), "number")
  equal(id, math.floor(id))
  ok(id > 0 and id < 2 ^ 53)
  equal(mtint.id(), id)
  equal(mtint.id(nil), id)
  if math.type then
    equal(math.type(id), "integer")
  end
end)

test("the id does not depend on who asks", function()
  local id = mtint.id()
  equal((function() return (mtint.id()) end)(), id)
  equal(select(2, pcall(mtint.id)), id)
end)

coroutine_test("each coroutine has its own id, from inside and from outside", function()
  local inside
  local co = coroutine.create(function()
    inside = mtint.id()
    coroutine.yield()
    equal(mtint.id(), inside)
    equal(mtint.id(coroutine.running()), inside)
  end)
  local id = mtint.id(co)
  ok(coroutine.resume(co))
  equal(inside, id)
  equal(mtint.id(co), id)
  local other = mtint.id(coroutine.create(run_on))
  ok(other ~= id and other ~= mtint.id() and id ~= mtint.id())
  ok(coroutine.resume(co))
  equal(mtint.id(co), id, "after its end")
end)

coroutine_test("the main state's coroutine has the main state's id", function()
  local main, is_main = coroutine.running()
  ok(is_main)
  equal(mtint.id(main), mtint.id())
end)

------------------------------------------------------------------------------------------------------------------ arguments

-- Lua takes the name of a function from the call, so each is called by its name here.
local by_name = {
  id = function(...) local r = mtint.id(...) return r end,
  sethook = function(...) local r = mtint.sethook(...) return r end,
  interrupt = function(...) local r = mtint.interrupt(...) return r end,
  interruptible = function(...) local r = mtint.interruptible(...) return r end,
}

local function bad_argument(n, name, ...)
  local message = raises(("bad argument #%d to '%s' ("):format(n, name), by_name[name], ...)
  ok(message:match("mtint%.lua:%d+: "), message)
end

test("wrong arguments get Lua's usual errors", function()
  for _, wrong in ipairs { 1, "x", true, {}, print } do
    bad_argument(1, "id", wrong)
  end
  for _, wrong in ipairs { true, {}, print, "x" } do
    bad_argument(1, "interrupt", wrong)
    bad_argument(1, "interruptible", wrong)
  end
  bad_argument(1, "interrupt")
  bad_argument(1, "interrupt", nil)
  bad_argument(1, "interrupt", io.stdout)
  bad_argument(1, "interrupt", coroutine.create(run_on))
  bad_argument(1, "interruptible")
  bad_argument(1, "interrupt", 1.5)
  bad_argument(1, "interruptible", 0 / 0)
  bad_argument(2, "interrupt", mtint.id(), 1)
  bad_argument(2, "interrupt", mtint.id(), "true")
  bad_argument(1, "sethook")
  bad_argument(1, "sethook", 1)
  bad_argument(1, "sethook", {})
  bad_argument(2, "sethook", nil, 1)
  bad_argument(2, "sethook", coroutine.create(run_on))
  bad_argument(2, "sethook", coroutine.create(run_on), 1)
  equal(run_on(), 0, "none of them has interrupted us")
end)

test("a wrong flag does not interrupt", function()
  local object = mtint.interruptible(mtint.id())
  raises("bad argument", function() object:interrupt("now") end)
  raises("bad argument", function() object.interrupt() end)
  raises("bad argument", function() object.interrupt(io.stdout) end)
  raises("bad argument", function() object.id(1) end)
  equal(run_on(), 0)
end)

test("unknown ids are refused", function()
  local id = mtint.id()
  for _, unknown in ipairs { 0, 1, -1, id + 1, id + 2 ^ 30, 2 ^ 53, 2 ^ 62, 1e300, -id, 1 / 0, -1 / 0 } do
    contains(raises(mtint.error.unknown_object, mtint.interrupt, unknown), "interruptible id")
    raises(mtint.error.unknown_object, mtint.interrupt, unknown, true)
    raises(mtint.error.unknown_object, mtint.interrupt, unknown, false)
    raises(mtint.error.unknown_object, mtint.interruptible, unknown)
  end
  equal(run_on(), 0)
end)

-- From the documentation of the original.
test("the documented example of an unknown id", function()
  local _, err = pcall(function()
    mtint.interrupt(1)
  end)
  assert(err:match(mtint.error.unknown_object))
  assert(mtint.error.unknown_object == "mtint.error.unknown_object")
end)

------------------------------------------------------------------------------------------------------------ interrupting self

clean_test("who interrupts himself gets the error at once", function()
  local after = false
  local message = raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id())
    after = true
  end)
  equal(after, false)
  -- With the place, as errors have it.
  ok(message:match("mtint%.lua:%d+: mtint%.error%.interrupted$"), message)
  ok(message:match(mtint.error.interrupt))
  equal(run_on(), 0, "once is once")
end)

clean_test("nil is no flag", function()
  raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id(), nil)
    run_on()
  end)
  equal(run_on(), 0)
end)

clean_test("an id may be a string that is a number, as Lua converts it", function()
  raises(mtint.error.interrupted, function()
    mtint.interrupt(("%.0f"):format(mtint.id()))
    run_on()
  end)
end)

clean_test("the error says the line of the code that was running", function()
  local line
  mtint.sethook(function()
    line = debug.getinfo(2, "l").currentline
  end)
  mtint.interrupt(mtint.id())
  run_on()
  ok(line, "the handler was not called")
  mtint.sethook(nil)
  local message = raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id())
    run_on()
  end)
  ok(message:match(":%d+: "), message)
end)

clean_test("false takes an endless interrupt back", function()
  local id, calls = mtint.id(), 0
  mtint.sethook(function() calls = calls + 1 end)
  equal(mtint.interrupt(id, true), true)
  run_on()
  ok(calls > 10000, "called " .. calls .. " times")
  equal(mtint.interrupt(id, false), true)
  run_on()
  local before = calls
  run_on()
  equal(calls, before)
end)

clean_test("an endless interrupt raises again and again, also where the last error was caught", function()
  local id, calls = mtint.id(), 0
  mtint.sethook(function()
    calls = calls + 1
    if calls == 20 then
      mtint.interrupt(id, false)
    end
    error("again", 0)
  end)
  -- What catches an error meets the next one at once, so each of them goes up at least one level.
  local function nested(levels)
    if levels == 0 then
      mtint.interrupt(id, true)
      run_on()
    else
      pcall(nested, levels - 1)
    end
  end
  nested(60)
  equal(calls, 20)
  equal(run_on(), 0)
end)

clean_test("an endless interrupt may be taken back where its error is handled", function()
  local id, seen = mtint.id(), nil
  local fine = xpcall(function()
    mtint.interrupt(id, true)
    run_on()
  end, function(message)
    mtint.interrupt(id, false) -- a message handler runs inside the hook, so it is not interrupted itself
    seen = message
  end)
  equal(fine, false)
  contains(seen, mtint.error.interrupted)
  equal(run_on(), 0)
end)

clean_test("false takes nothing from a state that is not interrupted", function()
  equal(mtint.interrupt(mtint.id(), false), true)
  equal(run_on(), 0)
end)

---------------------------------------------------------------------------------------------------------------- the handler

clean_test("a handler may let the code go on", function()
  local calls, args = 0, nil
  mtint.sethook(function(...)
    calls, args = calls + 1, select("#", ...)
  end)
  for i = 1, 5 do
    equal(mtint.interrupt(mtint.id()), true)
    equal(run_on(), 0)
    equal(calls, i)
  end
  equal(args, 0, "arguments of the handler")
  equal(debug.gethook(), nil, "hooks that are left")
end)

clean_test("what the handler returns is dropped, and the code's values are left alone", function()
  mtint.sethook(function() return 1, 2, 3, "four" end)
  local function three(...)
    mtint.interrupt(mtint.id())
    local a, b, c = ...
    return a, b, c, select("#", ...)
  end
  local a, b, c, n = three("x", nil, "z")
  equal(a, "x")
  equal(b, nil)
  equal(c, "z")
  equal(n, 3)
end)

clean_test("a handler runs on the interrupted state, and may call anything", function()
  local id, trace, sum
  mtint.sethook(function()
    id = mtint.id()
    trace = debug.traceback("here")
    sum = 0
    for i = 1, 1000 do sum = sum + i end
    pcall(error, "caught")
    local co = coroutine.wrap(function() coroutine.yield(1) end)
    sum = sum + co()
    collectgarbage()
  end)
  mtint.interrupt(mtint.id())
  run_on()
  equal(id, mtint.id())
  contains(trace, "mtint.lua:")
  equal(sum, 500501)
end)

clean_test("a handler may raise anything", function()
  local object = setmetatable({}, { __tostring = function() return "an object" end })
  for _, value in ipairs { object, 17, true, "text", print } do
    mtint.sethook(function() error(value, 0) end)
    local fine, e = pcall(function()
      mtint.interrupt(mtint.id())
      run_on()
    end)
    equal(fine, false)
    equal(e, value)
  end
  equal(run_on(), 0)
end)

clean_test("the message handler of xpcall sees the interrupt", function()
  local seen
  local fine = xpcall(function()
    mtint.interrupt(mtint.id())
    run_on()
  end, function(e)
    seen = e
  end)
  equal(fine, false)
  contains(seen, mtint.error.interrupted)
end)

clean_test("nil restores the error", function()
  local called = false
  mtint.sethook(function() called = true end)
  mtint.sethook(nil)
  raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id())
    run_on()
  end)
  equal(called, false)
end)

clean_test("sethook returns nothing, and a nil in front stands for the running state", function()
  local calls = 0
  equal(select("#", mtint.sethook(nil, function() calls = calls + 1 end)), 0)
  mtint.interrupt(mtint.id())
  run_on()
  equal(calls, 1)
  mtint.sethook(nil, nil)
  raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id())
    run_on()
  end)
end)

clean_test("the last handler counts, and it may replace itself", function()
  local calls = ""
  mtint.sethook(function() calls = calls .. "a" end)
  mtint.sethook(function()
    calls = calls .. "b"
    mtint.sethook(function() calls = calls .. "c" end)
  end)
  for _ = 1, 3 do
    mtint.interrupt(mtint.id())
    run_on()
  end
  equal(calls, "bcc")
end)

clean_test("a handler may be a C function", function()
  -- `error` without arguments raises nil.
  mtint.sethook(error)
  local fine, e = pcall(function()
    mtint.interrupt(mtint.id())
    run_on()
  end)
  equal(fine, false)
  ok(e == nil or type(e) == "string") -- 5.5 turns a nil into a string
end)

clean_test("a hook of debug.sethook is there again after an interrupt", function()
  local lines, calls = 0, 0
  local function mine() lines = lines + 1 end
  mtint.sethook(function() calls = calls + 1 end)
  debug.sethook(mine, "l")
  mtint.interrupt(mtint.id())
  run_on()
  local hook, mask = debug.gethook()
  lines = 0
  for _ = 1, 10 do
    math.abs(1)
  end
  debug.sethook()
  equal(calls, 1)
  equal(hook, mine)
  equal(mask, "l")
  ok(lines >= 10)
end)

clean_test("interrupts in deep recursion and in metamethods", function()
  local function down(n)
    if n == 0 then
      mtint.interrupt(mtint.id())
      run_on()
      return 0
    end
    return 1 + down(n - 1)
  end
  raises(mtint.error.interrupted, down, 1000)
  local t = setmetatable({}, { __index = function(_, k)
    mtint.interrupt(mtint.id())
    run_on()
    return k
  end })
  raises(mtint.error.interrupted, function() return t.x end)
  raises(mtint.error.interrupted, table.sort, { 3, 2, 1 }, function(a, b)
    mtint.interrupt(mtint.id())
    return a < b
  end)
  equal(run_on(), 0)
end)

clean_test("an interrupt from a finalizer arrives after it", function()
  local id = mtint.id() -- LuaJIT, since 2023, runs finalizers in a coroutine, which has no id for mtint
  local function garbage()
    local finalizer = function() mtint.interrupt(id) end
    if newproxy then
      getmetatable(newproxy(true)).__gc = finalizer -- 5.1 and LuaJIT have no __gc on tables
    else
      setmetatable({}, { __gc = finalizer })
    end
  end
  garbage()
  raises(mtint.error.interrupted, function()
    collectgarbage()
    collectgarbage()
    run_on()
  end)
end)

check.finish()
