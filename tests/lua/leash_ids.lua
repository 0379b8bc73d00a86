-- What can be done with an id in the state that it is of: leash.state_id, kill, interrupt with a message, traceback. Other threads are
-- in `leash_threads.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_ids.lua

local check = require "support.check"
local leash = require "leash"
local calls = require "support.calls"
local equal, ok, raises, contains = check.equal, check.ok, check.raises, check.contains
local LONG, stopped, clean_test = calls.LONG, calls.stopped, calls.clean_test

local function catch() while true do pcall(error) end end

local ways = { leash = leash.resume, stock = coroutine.resume }
local function each_way(name, f)
  for way, resume in pairs(ways) do
    clean_test(name .. " (" .. way .. ")", function() f(resume) end)
  end
end

local NOBODY = 2 ^ 40 + 12345

clean_test("the id of the state is a number of its own, the same everywhere in it", function()
  local id = leash.state_id()
  equal(type(id), "number")
  ok(id > 0 and id < 2 ^ 53 and id % 1 == 0)
  equal(coroutine.wrap(function() return leash.state_id() end)(), id)
  ok(id ~= leash.id())
end)

clean_test("ids of nobody", function()
  for _, id in ipairs { NOBODY, 0, -1, 2 ^ 60 } do
    equal(leash.kill(id), false)
    equal(leash.kill(id, "message"), false)
    equal(leash.interrupt(id, "message"), false)
    local text, why = leash.traceback(id, 0)
    equal(text, nil)
    equal(why, "gone")
  end
end)

clean_test("wrong arguments", function()
  raises("bad argument #1 to 'kill'", function() leash.kill("x") end)
  raises("bad argument #1 to 'kill'", function() leash.kill(1.5) end)
  raises("bad argument #2 to 'kill'", function() leash.kill(NOBODY, {}) end)
  raises("bad argument #2 to 'interrupt'", function() leash.interrupt(NOBODY, print) end)
  raises("bad argument #1 to 'traceback'", function() leash.traceback() end)
  raises("bad argument #2 to 'traceback' (seconds expected, 0 or more)", function() leash.traceback(NOBODY, -1) end)
end)

-- Kill -------------------------------------------------------------------------------------------------------------------------------

each_way("a coroutine kills itself", function(resume)
  local after = false
  local co = coroutine.create(function()
    pcall(function() leash.kill(leash.id(), "enough") end)
    after = true
    catch()
  end)
  local err = stopped("kill", resume(co))
  equal(err.message, "enough")
  contains(err.traceback, "leash_ids.lua:")
  equal(after, false)
  equal(coroutine.status(co), "dead")
  equal(select(2, resume(co)), "cannot resume dead coroutine")
end)

each_way("it does at once, also just after a delivery that took long", function(resume)
  local many, after, answered = {}, 0, 0
  for i = 1, 20000 do many[i] = coroutine.create(catch) end
  for _ = 1, 20 do
    stopped("kill", resume(coroutine.create(function()
      leash.on_interrupt(function() answered = answered + 1 end)
      leash.interrupt(leash.id())
      pcall(function() leash.kill(leash.id()) end)
      after = after + 1
      catch()
    end)))
  end
  equal(answered, 20)
  equal(after, 0)
end)

each_way("without a message", function(resume)
  local err = stopped("kill", resume(coroutine.create(function() leash.kill(leash.id()) catch() end)))
  contains(err.message, "killed after")
end)

each_way("what it has resumed goes with it, and nothing else", function(resume)
  local inner
  local outer = coroutine.create(function(me)
    inner = coroutine.create(function() leash.kill(me) catch() end)
    while true do pcall(coroutine.resume, inner) end
  end)
  local bystander = coroutine.create(function() coroutine.yield() return 7 end)
  resume(bystander)
  stopped("kill", resume(outer, leash.id(outer)))
  equal(coroutine.status(inner), "dead")
  equal(select(2, resume(bystander)), 7)
end)

each_way("a suspended one dies when it is resumed", function(resume)
  local went_on = false
  local co = coroutine.create(function() coroutine.yield() went_on = true catch() end)
  ok(resume(co))
  ok(leash.kill(leash.id(co), "asleep"))
  equal(coroutine.status(co), "suspended")
  local err = stopped("kill", resume(co))
  equal(err.message, "asleep")
  -- LuaJIT: resumed by others, it is seen within 10 ms.
  if check.engine ~= "luajit" or resume == leash.resume then equal(went_on, false) end
  equal(select(2, leash.resume(co)), "cannot resume dead coroutine")
end)

each_way("one that has never run", function(resume)
  local co = coroutine.create(catch)
  ok(leash.kill(leash.id(co)))
  stopped("kill", resume(co))
end)

each_way("one that is watched", function(resume)
  local co = leash.watch(coroutine.create(function() leash.kill(leash.id(), "x") catch() end), LONG)
  equal(stopped("kill", resume(co)).message, "x")
  local co = leash.watch(coroutine.create(catch), LONG)
  leash.kill(leash.id(co))
  stopped("kill", resume(co))
end)

each_way("a kill cannot be taken back", function(resume)
  local co = leash.watch(coroutine.create(catch), LONG)
  leash.kill(leash.id(co))
  leash.watch(co, nil)
  leash.watch(co, LONG)
  stopped("kill", resume(co))
end)

clean_test("a killed coroutine does not come back from the dead", function()
  for _ = 1, 50 do
    local co = coroutine.create(catch)
    leash.kill(leash.id(co))
    co = nil
    collectgarbage()
  end
  local fine, value = coroutine.resume(coroutine.create(function() return 7 end))
  equal(fine, true)
  equal(value, 7)
end)

clean_test("the state: its outermost call ends", function()
  for _, get in ipairs { leash.state_id, leash.id } do
    local id = get()
    local back = false
    local fine, err = leash.call(LONG, function()
      leash.call(LONG, function()
        coroutine.wrap(function() leash.kill(id, "all of it") catch() end)()
      end)
      back = true
    end)
    local err = stopped("kill", fine, err)
    equal(err.message, "all of it")
    equal(back, false)
  end
  -- The next call has nothing of it.
  equal(leash.call(LONG, function() for _ = 1, 1000 do end return 1 end), true)
end)

-- Interrupt --------------------------------------------------------------------------------------------------------------------------

clean_test("a message for the handler, and in the error", function()
  local heard = {}
  leash.on_interrupt(function(...) heard[#heard + 1] = select("#", ...) == 1 and ... or "none" end)
  leash.interrupt(leash.id(), "hello")
  leash.interrupt(leash.id())
  leash.interrupt(leash.id(), "")
  equal(table.concat(heard, ","), "hello,none,")
  leash.on_interrupt(nil)
  local fine, err = pcall(function() leash.interrupt(leash.id(), "hello") return 1 end)
  equal(fine, false)
  ok(err:find "^.*leash_ids.lua:%d+: .*interrupted: hello$", err)
end)

clean_test("the id of the state: whatever runs is interrupted", function()
  local id = leash.state_id()
  local co = coroutine.create(function()
    local fine, err = pcall(function() leash.interrupt(id, "you") return 1 end)
    return fine, err
  end)
  local _, fine, err = coroutine.resume(co)
  equal(fine, false)
  contains(err, "interrupted: you")
  local who
  local function handler() who = coroutine.running() end
  local co = coroutine.create(function()
    leash.on_interrupt(handler)
    leash.interrupt(id)
    return 7
  end)
  equal(select(2, coroutine.resume(co)), 7)
  equal(who, co)
  -- The main state's handler is for coroutines without one.
  leash.on_interrupt(handler)
  who = nil
  local co = coroutine.create(function() leash.interrupt(id) return 7 end)
  equal(select(2, coroutine.resume(co)), 7)
  equal(who, co)
  leash.on_interrupt(nil)
end)

-- Traceback --------------------------------------------------------------------------------------------------------------------------

clean_test("where it is: the running one, one that sleeps, one that waits", function()
  contains(leash.traceback(leash.id()), "leash_ids.lua:")
  local function asleep() coroutine.yield() end
  local co = coroutine.create(function() asleep() end)
  coroutine.resume(co)
  local text = leash.traceback(leash.id(co))
  contains(text, "stack traceback:")
  contains(text, "asleep")
  ok(not text:find("resumed from", 1, true), text)
  local waits
  waits = coroutine.create(function() return coroutine.wrap(function() return leash.traceback(leash.id(waits)) end)() end)
  local _, text = coroutine.resume(waits)
  contains(text, "leash_ids.lua:")
  contains(text, "resumed from:")
  contains(leash.traceback(leash.state_id()), "leash_ids.lua:")
end)

check.finish()
