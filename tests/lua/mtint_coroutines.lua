-- mtint: other coroutines than the running one, ids of what is gone, and interruptible objects. Run as `mtint.lua` is.
--
-- On 5.1 and LuaJIT coroutines have no ids of their own, as documented for the original: that, and the objects, are
-- what is tested there.

local check = require "support.check"
local mtint = require "mtint"
local common = require "support.mtint"
local run_on, clean_test, coroutine_test = common.run_on, common.clean_test, common.coroutine_test
local test, equal, ok, raises, contains = check.test, check.equal, check.ok, check.raises, check.contains

----------------------------------------------------------------------------------------------------------- other coroutines

if not check.coroutines then
  -- As documented for the original: hooks of coroutines are not supported there.
  test("coroutines are not supported on " .. check.engine, function()
    local co = coroutine.create(function()
      raises(mtint.error.not_supported, mtint.id)
      raises(mtint.error.not_supported, mtint.sethook, print)
      raises(mtint.error.not_supported, mtint.sethook, nil)
    end)
    raises(mtint.error.not_supported, mtint.id, co)
    raises(mtint.error.not_supported, mtint.sethook, co, print)
    raises(mtint.error.not_supported, mtint.sethook, co, nil)
    local fine, message = coroutine.resume(co)
    ok(fine, message)
  end)

  clean_test("from inside a coroutine the main state can still be interrupted", function()
    local id = mtint.id()
    local co = coroutine.wrap(function()
      equal(mtint.interrupt(id), true)
      equal(mtint.interruptible(id):id(), id)
    end)
    raises(mtint.error.interrupted, function()
      co()
      run_on()
    end)
  end)
end

coroutine_test("a suspended coroutine meets the interrupt when it is resumed", function()
  local co = coroutine.create(function()
    coroutine.yield(1)
    run_on()
    coroutine.yield(2)
  end)
  ok(coroutine.resume(co))
  equal(mtint.interrupt(mtint.id(co)), true)
  equal(run_on(), 0, "the main state is not touched")
  equal(coroutine.status(co), "suspended")
  local fine, message = coroutine.resume(co)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
  ok(message:match("mtint_coroutines%.lua:%d+: "), message)
  equal(coroutine.status(co), "dead")
end)

coroutine_test("a coroutine that was never resumed meets it at its start", function()
  local started = false
  local co = coroutine.create(function() started = true end)
  equal(mtint.interrupt(mtint.id(co)), true)
  local fine, message = coroutine.resume(co)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
  equal(started, false)
end)

coroutine_test("a coroutine may catch it and go on", function()
  local co = coroutine.create(function()
    local fine, message = pcall(function()
      coroutine.yield(100)
      coroutine.yield(200)
    end)
    equal(fine, false)
    contains(message, mtint.error.interrupted)
    coroutine.yield(300)
    return 400
  end)
  equal(select(2, coroutine.resume(co)), 100)
  equal(mtint.interrupt(mtint.id(co)), true)
  equal(select(2, coroutine.resume(co)), 300)
  equal(select(2, coroutine.resume(co)), 400)
end)

coroutine_test("interrupting one coroutine leaves the others alone", function()
  local function forever()
    while true do
      coroutine.yield(run_on())
    end
  end
  local a, b = coroutine.create(forever), coroutine.create(forever)
  ok(coroutine.resume(a) and coroutine.resume(b))
  mtint.interrupt(mtint.id(a))
  for _ = 1, 20 do
    equal(select(2, coroutine.resume(b)), 0)
  end
  equal(coroutine.resume(a), false)
  equal(select(2, coroutine.resume(b)), 0)
end)

coroutine_test("interrupting the main state does not touch its coroutines", function()
  local id = mtint.id()
  local co = coroutine.wrap(function()
    mtint.interrupt(id)
    coroutine.yield(run_on())
  end)
  local value
  raises(mtint.error.interrupted, function()
    value = co()
    run_on()
  end)
  ok(value == 0 or value == nil)
  -- The coroutine goes on where it was.
  co()
end)

coroutine_test("a coroutine interrupts the one that has resumed it", function()
  local outer = coroutine.create(function()
    local id = mtint.id()
    local inner = coroutine.wrap(function()
      mtint.interrupt(id)
      run_on()
      return "inner went on"
    end)
    local fine, message = pcall(function()
      local text = inner()
      run_on()
      return text
    end)
    return fine, message
  end)
  local _, fine, message = coroutine.resume(outer)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
end)

coroutine_test("each coroutine has its own handler", function()
  local calls = ""
  local function body()
    for _ = 1, 3 do
      coroutine.yield()
      run_on()
    end
  end
  local a, b, c = coroutine.create(body), coroutine.create(body), coroutine.create(body)
  mtint.sethook(a, function() calls = calls .. "a" end)
  mtint.sethook(b, function() error("from b", 0) end)
  mtint.sethook(function() calls = calls .. "m" end)
  for _, co in ipairs { a, b, c } do
    ok(coroutine.resume(co))
    equal(mtint.interrupt(mtint.id(co)), true)
  end
  mtint.interrupt(mtint.id())
  run_on()
  equal(calls, "m")
  ok(coroutine.resume(a))
  equal(calls, "ma")
  local fine, message = coroutine.resume(b)
  equal(fine, false)
  equal(message, "from b")
  -- c has none; that of the main state is not its.
  fine, message = coroutine.resume(c)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
  equal(calls, "ma")
  -- nil takes it away.
  mtint.sethook(a, nil)
  mtint.interrupt(mtint.id(a))
  equal(coroutine.resume(a), false)
end)

coroutine_test("a handler that is set inside a coroutine is that coroutine's", function()
  local calls = 0
  local co = coroutine.create(function()
    mtint.sethook(function()
      calls = calls + 1
    end)
    coroutine.yield()
    run_on()
    coroutine.yield()
    mtint.sethook(nil)
    coroutine.yield()
    run_on()
  end)
  ok(coroutine.resume(co))
  mtint.interrupt(mtint.id(co))
  ok(coroutine.resume(co))
  equal(calls, 1)
  raises(mtint.error.interrupted, function()
    mtint.interrupt(mtint.id())
    run_on()
  end)
  ok(coroutine.resume(co))
  mtint.interrupt(mtint.id(co))
  local fine, message = coroutine.resume(co)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
  equal(calls, 1)
end)

coroutine_test("an endless interrupt of a coroutine ends with false", function()
  local calls = 0
  local co = coroutine.create(function()
    while true do
      coroutine.yield(run_on())
    end
  end)
  mtint.sethook(co, function() calls = calls + 1 end)
  local object = mtint.interruptible(mtint.id(co))
  ok(coroutine.resume(co))
  equal(calls, 0)
  equal(object:interrupt(true), true)
  ok(coroutine.resume(co))
  ok(calls > 10000)
  equal(object:interrupt(false), true)
  ok(coroutine.resume(co))
  local before = calls
  ok(coroutine.resume(co))
  equal(calls, before)
end)

coroutine_test("many coroutines, each interrupted once", function()
  local cos = {}
  for i = 1, 500 do
    cos[i] = coroutine.create(function()
      while true do coroutine.yield(i) end
    end)
    ok(coroutine.resume(cos[i]))
  end
  for i = 1, 500, 3 do
    ok(mtint.interrupt(mtint.id(cos[i])))
  end
  for i = 1, 500 do
    local fine, value = coroutine.resume(cos[i])
    if i % 3 == 1 then
      equal(fine, false)
      contains(value, mtint.error.interrupted)
    else
      equal(value, i)
    end
  end
end)

-------------------------------------------------------------------------------------------------------------- what is gone

coroutine_test("the id of a collected coroutine is unknown", function()
  local c = coroutine.create(function() end)
  local id = mtint.id(c)
  equal(mtint.interrupt(id), true)
  collectgarbage()
  equal(mtint.interrupt(id), true)
  c = nil
  collectgarbage()
  raises(mtint.error.unknown_object, mtint.interrupt, id)
  raises(mtint.error.unknown_object, mtint.interruptible, id)
end)

coroutine_test("a handler does not keep its coroutine alive", function()
  local c = coroutine.create(function() end)
  local id = mtint.id(c)
  local function handler_for(co)
    return function() return coroutine.status(co) end
  end
  mtint.sethook(c, handler_for(c))
  equal(mtint.interrupt(id, false), true)
  c = nil
  collectgarbage()
  collectgarbage()
  raises(mtint.error.unknown_object, mtint.interrupt, id)
end)

coroutine_test("ids are not used again", function()
  local seen = {}
  for _ = 1, 200 do
    for _ = 1, 20 do
      local id = mtint.id(coroutine.create(run_on))
      equal(seen[id], nil)
      seen[id] = true
    end
    collectgarbage()
  end
end)

------------------------------------------------------------------------------------------------------ interruptible objects

clean_test("an interruptible object interrupts, and tells its id", function()
  local id = mtint.id()
  local object = mtint.interruptible(id)
  equal(type(object), "userdata")
  equal(object:id(), id)
  equal(getmetatable(object), "mtint.interruptible")
  ok(tostring(object):match("^mtint%.interruptible: .+ %(id=" .. ("%.0f"):format(id) .. "%)$"), tostring(object))
  raises(mtint.error.interrupted, function()
    assert(object:interrupt())
    run_on()
  end)
  raises(mtint.error.interrupted, function()
    assert(mtint.interrupt(object))
    run_on()
  end)
  local calls = 0
  mtint.sethook(function() calls = calls + 1 end)
  equal(mtint.interrupt(object, true), true)
  run_on()
  equal(object:interrupt(false), true)
  ok(calls > 10000)
end)

clean_test("two objects of one state are two", function()
  local a, b = mtint.interruptible(mtint.id()), mtint.interruptible(mtint.id())
  ok(a ~= b)
  equal(a:id(), b:id())
end)

coroutine_test("an object keeps the id known, but not the coroutine alive", function()
  local c = coroutine.create(function() coroutine.yield() end)
  coroutine.resume(c)
  local id = mtint.id(c)
  local object = mtint.interruptible(id)
  equal(object:interrupt(), true)
  c = nil
  collectgarbage()
  equal(object:interrupt(), false)
  equal(object:interrupt(true), false)
  equal(object:interrupt(false), false)
  equal(mtint.interrupt(object), false)
  equal(object:id(), id)
  contains(tostring(object), ("%.0f"):format(id))
  -- Known, though gone.
  equal(mtint.interrupt(id), false)
  local second = mtint.interruptible(id)
  equal(second:id(), id)
  object = nil
  collectgarbage()
  collectgarbage()
  equal(mtint.interrupt(id), false, "the second object still holds it")
  second = nil
  collectgarbage()
  collectgarbage()
  raises(mtint.error.unknown_object, mtint.interruptible, id)
  raises(mtint.error.unknown_object, mtint.interrupt, id)
end)

test("objects by the thousand come and go", function()
  for _ = 1, 20 do
    local list = {}
    for i = 1, 500 do
      list[i] = mtint.interruptible(mtint.id())
    end
    list = nil
    collectgarbage()
  end
  equal(mtint.interruptible(mtint.id()):id(), mtint.id())
end)

test("objects are collected when the state closes, and may be used until then", function()
  -- The finalizer of this one runs when this state is closed: nothing may go wrong then.
  _G.kept_until_the_end = mtint.interruptible(mtint.id())
  _G.handler_until_the_end = mtint.sethook(function() end)
end)

check.finish()
