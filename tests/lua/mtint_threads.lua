-- mtint across OS threads. Needs `llthreads2.ex` and `mtmsg`: see `support/threads.lua`.
--
-- A thread that is expected to be interrupted runs until it is; should no interrupt arrive, the test hangs, and whoever runs it has a
-- time limit.
--
-- LuaJIT: compiled code does not see hooks, so threads switch the compiler off, or do what the documentation of the original
-- recommends: load something in each round. On 5.1 and LuaJIT coroutines have no ids.

local check = require "support.check"
local start = require "support.threads".start
local llthreads = require "llthreads2.ex"
local mtmsg = require "mtmsg"
local mtint = require "mtint"
local test, equal, ok, raises, contains = check.test, check.equal, check.ok, check.raises, check.contains

local function coroutine_test(name, f)
  if check.coroutines then
    test(name, f)
  end
end

test("an endless loop in another thread is interrupted", function()
  for _ = 1, 20 do
    local thread, from = start(function(out)
      if jit then jit.off() end
      local mtmsg, mtint = require "mtmsg", require "mtint"
      mtmsg.buffer(out):addmsg(mtint.id())
      while true do end
    end)
    local id = from:nextmsg()
    ok(id ~= mtint.id())
    equal(mtint.interrupt(id), true)
    local fine, message = thread:join()
    equal(fine, false)
    contains(message, mtint.error.interrupted)
    -- The state is closed, and its id unknown.
    raises(mtint.error.unknown_object, mtint.interrupt, id)
    raises(mtint.error.unknown_object, mtint.interruptible, id)
  end
end)

test("the documented first example", function()
  local threadOut = mtmsg.newbuffer()
  local thread    = llthreads.new(function(outId)
                                      local loadstring = loadstring or load
                                      local mtmsg      = require("mtmsg")
                                      local mtint      = require("mtint")
                                      local threadOut  = mtmsg.buffer(outId)
                                      threadOut:addmsg(mtint.id())
                                      local x = 1
                                      while true do
                                          x = x + 1
                                          -- do some work, prevent jit compilation for LuaJIT:
                                          assert(x == loadstring("return "..x)())
                                      end
                                  end,
                                  threadOut:id())
  thread:start()
  local interruptibleId = threadOut:nextmsg()
  mtint.interrupt(interruptibleId)
  local _, err = thread:join()
  assert(err:match(mtint.error.interrupted))
end)

test("code that catches the error goes on, and can be interrupted again", function()
  local thread, from = start(function(out)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out = mtmsg.buffer(out)
    out:addmsg(mtint.id())
    for i = 1, 50 do
      local fine, message = pcall(function()
        out:addmsg(i)
        while true do end
      end)
      assert(not fine and message:find(mtint.error.interrupted, 1, true), message)
    end
    return "done"
  end)
  local id = from:nextmsg()
  for i = 1, 50 do
    equal(from:nextmsg(), i)
    equal(mtint.interrupt(id), true)
  end
  local fine, text = thread:join()
  equal(fine, true, text)
  equal(text, "done")
end)

test("a handler gets CONTINUE and QUIT through a queue", function()
  local thread, from, to = start(function(out, inbox)
    local loadstring = loadstring or load
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out, inbox = mtmsg.buffer(out), mtmsg.buffer(inbox)
    local stop, counter, calls = false, 0, 0
    mtint.sethook(function()
      calls = calls + 1
      local command = inbox:nextmsg()
      if command == "CONTINUE" then
        out:addmsg("OK" .. calls)
      elseif command == "QUIT" then
        out:addmsg("QUITTING")
        stop = true
      end
    end)
    out:addmsg(mtint.id())
    while not stop do
      counter = counter + 1
      assert(counter == loadstring("return " .. counter)()) -- LuaJIT: keeps it from being compiled
    end
    return calls
  end)
  local id = from:nextmsg()
  for i = 1, 10 do
    to:addmsg("CONTINUE")
    mtint.interrupt(id)
    equal(from:nextmsg(), "OK" .. i)
  end
  to:addmsg("QUIT")
  mtint.interrupt(id)
  equal(from:nextmsg(), "QUITTING")
  local fine, calls = thread:join()
  equal(fine, true, calls)
  equal(calls, 11)
end)

test("a handler that raises ends the thread with its error", function()
  local thread, from = start(function(out)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtint.sethook(function() error("exit thread") end)
    mtmsg.buffer(out):addmsg(mtint.id())
    while true do end
  end)
  mtint.interrupt(from:nextmsg())
  local fine, message = thread:join()
  equal(fine, false)
  contains(message, "exit thread")
end)

test("an interrupt arrives in code that calls C functions all the time", function()
  local thread, from = start(function(out)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtmsg.buffer(out):addmsg(mtint.id())
    while true do
      mtmsg.sleep(0.002)
      local s = ("x"):rep(10)
    end
  end)
  equal(mtint.interrupt(from:nextmsg()), true)
  local fine, message = thread:join()
  equal(fine, false)
  contains(message, mtint.error.interrupted)
end)

test("an endless interrupt is not to be escaped, and false takes it back", function()
  local thread, from = start(function(out)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtmsg.buffer(out):addmsg(mtint.id())
    while true do pcall(function() while true do end end) end
  end)
  local id = from:nextmsg()
  equal(mtint.interrupt(id, true), true)
  local fine, message = thread:join()
  equal(fine, false)
  contains(message, mtint.error.interrupted)

  thread, from = start(function(out)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out, calls, quiet = mtmsg.buffer(out), 0, 0
    mtint.sethook(function() calls = calls + 1 end)
    out:addmsg(mtint.id())
    while calls < 1000 do end
    out:addmsg("called")
    -- Until nothing has come for a while.
    repeat
      local before = calls
      for _ = 1, 1000 do end
      quiet = calls == before and quiet + 1 or 0
    until quiet == 100
    return "quiet"
  end)
  id = from:nextmsg()
  equal(mtint.interrupt(id, true), true)
  equal(from:nextmsg(), "called")
  equal(mtint.interrupt(id, false), true)
  local _, text = thread:join()
  equal(text, "quiet")
end)

test("an object keeps the id of a closed state known", function()
  local thread, from, to = start(function(out, inbox)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtmsg.buffer(out):addmsg(mtint.id())
    mtmsg.buffer(inbox):nextmsg()
  end)
  local id = from:nextmsg()
  local object = mtint.interruptible(id)
  equal(object:id(), id)
  equal(object:interrupt(false), true)
  to:addmsg("go")
  thread:join()
  thread = nil
  collectgarbage()
  equal(object:interrupt(), false)
  equal(mtint.interrupt(id), false)
  equal(mtint.interruptible(id):id(), id)
  object = nil
  collectgarbage()
  collectgarbage()
  raises(mtint.error.unknown_object, mtint.interruptible, id)
end)

test("an object made in another thread counts as well", function()
  local thread, from = start(function(out)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtmsg.buffer(out):addmsg(mtint.id())
    mtmsg.sleep(0.05)
  end)
  local id = from:nextmsg()
  local keeper, kept, stop = start(function(out, inbox, id)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local object = mtint.interruptible(id)
    mtmsg.buffer(out):addmsg("kept")
    mtmsg.buffer(inbox):nextmsg()
    return object:interrupt()
  end, id)
  equal(kept:nextmsg(), "kept")
  thread:join()
  equal(mtint.interrupt(id), false)
  stop:addmsg("stop")
  local fine, result = keeper:join()
  equal(fine, true, result)
  equal(result, false)
  keeper = nil
  collectgarbage()
  raises(mtint.error.unknown_object, mtint.interrupt, id)
end)

test("states interrupt each other", function()
  local body = function(out, inbox)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out, inbox = mtmsg.buffer(out), mtmsg.buffer(inbox)
    local calls = 0
    mtint.sethook(function() calls = calls + 1 end)
    out:addmsg(mtint.id())
    local other = inbox:nextmsg()
    for _ = 1, 200 do
      mtint.interrupt(other)
      for _ = 1, 1000 do end
    end
    -- Goes only when the other one is through.
    out:addmsg("through")
    inbox:nextmsg()
    return calls
  end
  local a, from_a, to_a = start(body)
  local b, from_b, to_b = start(body)
  local id_a, id_b = from_a:nextmsg(), from_b:nextmsg()
  to_a:addmsg(id_b)
  to_b:addmsg(id_a)
  equal(from_a:nextmsg(), "through")
  equal(from_b:nextmsg(), "through")
  to_a:addmsg("go")
  to_b:addmsg("go")
  for _, thread in ipairs { a, b } do
    local fine, calls = thread:join()
    equal(fine, true, calls)
    ok(calls > 0 and calls <= 200, "calls: " .. tostring(calls))
  end
end)

test("states are interrupted while they are being closed", function()
  -- Interrupts ids as fast as it can, known or unknown, until it is told to stop.
  local attacker, _, stop = start(function(_, inbox, ids)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local inbox, ids = mtmsg.buffer(inbox), mtmsg.buffer(ids)
    local count, list, n = 0, {}, 0
    while not inbox:nextmsg(0) do
      local id = ids:nextmsg(0)
      if id then
        n = n % 8 + 1
        list[n] = id
      end
      for i = 1, #list do
        if pcall(mtint.interrupt, list[i]) then
          count = count + 1
        end
      end
    end
    return count
  end, (function()
    _G.ids = mtmsg.newbuffer()
    return _G.ids:id()
  end)())
  local body = function(ids)
    if jit then jit.off() end
    local mtmsg, mtint = require "mtmsg", require "mtint"
    mtint.sethook(function() end)
    mtmsg.buffer(ids):addmsg(mtint.id())
    -- Finalizers run while the state is being closed.
    for _ = 1, 50 do
      if newproxy then
        getmetatable(newproxy(true)).__gc = function() for _ = 1, 100 do end end
      else
        setmetatable({}, { __gc = function() for _ = 1, 100 do end end })
      end
    end
    local sum = 0
    for i = 1, 200 do
      sum = sum + coroutine.wrap(function() coroutine.yield(i) end)()
    end
    return sum
  end
  local id = _G.ids:id()
  for _ = 1, 40 do
    local threads = {}
    for i = 1, 4 do
      threads[i] = llthreads.new(body, id)
      threads[i]:start()
    end
    for i = 1, 4 do
      local fine, sum = threads[i]:join()
      equal(fine, true, sum)
      equal(sum, 20100)
    end
  end
  stop:addmsg(true)
  local fine, count = attacker:join()
  equal(fine, true, count)
  ok(count > 0, "no interrupt has arrived")
end)

coroutine_test("the documented second example", function()
  local threadOut = mtmsg.newbuffer()
  local thread    = llthreads.new(function(outId)
                                      local mtmsg     = require("mtmsg")
                                      local mtint     = require("mtint")
                                      local threadOut = mtmsg.buffer(outId)
                                      local c = coroutine.create(function()
                                          coroutine.yield(mtint.id())
                                          threadOut:addmsg(mtint.id())
                                          local x = 1
                                          while true do x = x + 1 end
                                      end)
                                      local ok, cid = coroutine.resume(c)
                                      assert(ok and cid == mtint.id(c))
                                      local ok, err = coroutine.resume(c)
                                      assert(not ok and err:match(mtint.error.interrupted))
                                  end,
                                  threadOut:id())
  thread:start()
  local interruptibleId = threadOut:nextmsg()
  mtint.interrupt(interruptibleId)
  assert(thread:join())
end)

coroutine_test("interrupting the main state of a thread lets its coroutine run", function()
  local thread, from, to = start(function(out, inbox)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out, inbox = mtmsg.buffer(out), mtmsg.buffer(inbox)
    out:addmsg(mtint.id())
    local co = coroutine.create(function()
      out:addmsg("inside")
      local n = 0
      while not inbox:nextmsg(0) do
        n = n + 1
      end
      coroutine.yield("the coroutine went on")
    end)
    local _, text
    local fine, message = pcall(function()
      _, text = coroutine.resume(co)
      while true do end
    end)
    assert(not fine and message:find(mtint.error.interrupted, 1, true), message)
    return text or "the coroutine went on"
  end)
  local id = from:nextmsg()
  equal(from:nextmsg(), "inside")
  equal(mtint.interrupt(id), true)
  mtmsg.sleep(0.05)
  to:addmsg("enough")
  local fine, text = thread:join()
  equal(fine, true, text)
  equal(text, "the coroutine went on")
end)

coroutine_test("a suspended coroutine of another thread meets the interrupt when it is resumed", function()
  local thread, from, to = start(function(out, inbox)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    local out, inbox = mtmsg.buffer(out), mtmsg.buffer(inbox)
    local co = coroutine.create(function()
      coroutine.yield()
      return "not interrupted"
    end)
    coroutine.resume(co)
    out:addmsg(mtint.id(co))
    inbox:nextmsg()
    return coroutine.resume(co)
  end)
  equal(mtint.interrupt(from:nextmsg()), true)
  mtmsg.sleep(0.02)
  to:addmsg("go")
  local _, fine, message = thread:join()
  equal(fine, false)
  contains(message, mtint.error.interrupted)
end)

check.finish()
