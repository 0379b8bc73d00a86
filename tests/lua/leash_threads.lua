-- leash.kill, interrupt, traceback and watch across OS threads. Needs `llthreads2.ex` and `mtmsg`: see `support/threads.lua`.
--
-- A thread that is expected to be stopped runs until it is; should that not come, the test hangs, and whoever runs it has a time limit.

local check = require "support.check"
local start = require "support.threads".start
local mtmsg = require "mtmsg"
local leash = require "leash"
local test, equal, ok, contains = check.test, check.equal, check.ok, check.contains

test("kill: a state without limits unwinds to its host", function()
  for _ = 1, 10 do
    local thread, from = start(function(out)
      local mtmsg, leash = require "mtmsg", require "leash"
      mtmsg.buffer(out):addmsg(leash.state_id())
      while true do pcall(error) end
    end)
    local id = from:nextmsg()
    equal(leash.kill(id, "enough"), true)
    local fine = thread:join()
    equal(fine, false)
    equal(leash.kill(id), false)
    local text, why = leash.traceback(id)
    equal(text, nil)
    equal(why, "gone")
  end
end)

test("kill: the main state, from inside coroutines and calls", function()
  local thread, from = start(function(out)
    local mtmsg, leash = require "mtmsg", require "leash"
    local out = mtmsg.buffer(out)
    local id = leash.id()
    local function catch() while true do pcall(error) end end
    local fine, err = leash.call(100, function()
      while true do
        coroutine.wrap(function()
          leash.call(100, function() out:addmsg(id) catch() end)
        end)()
      end
    end)
    return fine, leash.reason(err), err.message
  end)
  equal(leash.kill(from:nextmsg(), "enough"), true)
  local _, fine, reason, message = thread:join()
  equal(fine, false)
  equal(reason, "kill")
  equal(message, "enough")
end)

test("kill: one coroutine of many", function()
  for _, way in ipairs { "leash", "coroutine" } do
    local thread, from = start(function(out, _, way)
      local mtmsg, leash = require "mtmsg", require "leash"
      local lib = way == "leash" and leash or coroutine
      local out = mtmsg.buffer(out)
      local others = {}
      for i = 1, 20 do
        others[i] = coroutine.create(function() coroutine.yield() return i end)
        coroutine.resume(others[i])
      end
      local co = lib.create(function()
        out:addmsg(leash.id())
        while true do pcall(coroutine.wrap(function() while true do end end)) end
      end)
      local fine, err = lib.resume(co)
      local sum = 0
      for i = 1, 20 do sum = sum + select(2, coroutine.resume(others[i])) end
      return fine, leash.reason(err), err.message, sum, coroutine.status(co)
    end, way)
    equal(leash.kill(from:nextmsg(), "you"), true)
    local _, fine, reason, message, sum, status = thread:join()
    equal(fine, false)
    equal(reason, "kill")
    equal(message, "you")
    equal(sum, 210)
    equal(status, "dead")
  end
end)

test("interrupt with a message", function()
  local thread, from = start(function(out)
    local mtmsg, leash = require "mtmsg", require "leash"
    local out = mtmsg.buffer(out)
    local heard
    leash.on_interrupt(function(message) heard = message end)
    out:addmsg(leash.id())
    while not heard do end
    leash.on_interrupt(nil)
    local id = leash.state_id()
    local fine, err = pcall(function() out:addmsg(id) while true do end end)
    return heard, err
  end)
  equal(leash.interrupt(from:nextmsg(), "hello"), true)
  equal(leash.interrupt(from:nextmsg(), "you"), true)
  local _, heard, err = thread:join()
  equal(heard, "hello")
  contains(err, "interrupted: you")
end)

test("traceback: where another thread is, without stopping it", function()
  local thread, from, to = start(function(out, inbox)
    local mtmsg, leash = require "mtmsg", require "leash"
    local out, inbox = mtmsg.buffer(out), mtmsg.buffer(inbox)
    local asleep = coroutine.create(function() local function sleeps() coroutine.yield() end sleeps() end)
    coroutine.resume(asleep)
    local n = 0
    local function works()
      while not inbox:nextmsg(0) do n = n + 1 end
    end
    out:addmsg(leash.state_id(), leash.id(), leash.id(asleep))
    works()
    return n
  end)
  local state, main, asleep = from:nextmsg()
  repeat until leash.traceback(state):find "works"
  for _ = 1, 20 do
    local text = ok(leash.traceback(state))
    contains(text, "stack traceback:")
    contains(text, "works")
    contains(leash.traceback(main), "works")
    local text = leash.traceback(asleep)
    contains(text, "sleeps")
    ok(not text:find("works", 1, true))
  end
  to:addmsg "enough"
  local fine, n = thread:join()
  equal(fine, true, n)
  ok(n > 0)
end)

test("traceback: a state that runs nothing does not answer", function()
  local thread, from, to = start(function(out, inbox)
    local mtmsg, leash = require "mtmsg", require "leash"
    mtmsg.buffer(out):addmsg(leash.state_id())
    mtmsg.buffer(inbox):nextmsg()
    return 7
  end)
  local id = from:nextmsg()
  mtmsg.sleep(0.05)
  local text, why = leash.traceback(id, 0.05)
  equal(text, nil)
  equal(why, "timeout")
  to:addmsg "enough"
  local _, value = thread:join()
  equal(value, 7)
end)

test("watches in several threads at once", function()
  local threads = {}
  for i = 1, 4 do
    threads[i] = start(function()
      local leash = require "leash"
      local function catch() while true do pcall(error) end end
      local n = 0
      for i = 1, 10 do
        local lib = i % 2 == 0 and leash or coroutine
        local fine, err = lib.resume(leash.watch(coroutine.create(catch), 0.01))
        if not fine and leash.reason(err) == "timeout" then n = n + 1 end
      end
      return n
    end)
  end
  for i = 1, 4 do
    local fine, n = threads[i]:join()
    equal(n, 10)
  end
end)

test("a state that goes to another thread with its watches", function()
  -- The thread ends while coroutines are watched, and killed ones wait: nothing is left behind.
  for _ = 1, 20 do
    local thread = start(function()
      local leash = require "leash"
      local cos = {}
      for i = 1, 50 do
        cos[i] = leash.watch(coroutine.create(function() coroutine.yield() end), 1)
        coroutine.resume(cos[i])
        if i % 5 == 0 then leash.kill(leash.id(cos[i])) end
      end
      return true
    end)
    equal(thread:join(), true)
  end
end)

check.finish()
