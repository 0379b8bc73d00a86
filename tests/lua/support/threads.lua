-- What tests with several OS threads share. Needs `llthreads2.ex` and `mtmsg`: the test-only module of this repository (crates/testthreads), or the
-- real libraries.
--
-- The function of a thread is dumped and loaded in a new state, so it has no upvalues: each requires what it needs.

local check = require "support.check"
local llthreads = require "llthreads2.ex"
local mtmsg = require "mtmsg"

local threads = {}

-- Starts f(outId, inId, ...) in a thread; returns the thread and both buffers.
function threads.start(f, ...)
  local from, to = mtmsg.newbuffer(), mtmsg.newbuffer()
  local thread = llthreads.new(f, from:id(), to:id(), ...)
  thread:start()
  return thread, from, to
end

-- Runs f(n) in so many threads at the same time, and `meanwhile` here; each must return n.
function threads.each(count, n, f, meanwhile)
  local all = {}
  for i = 1, count do
    all[i] = llthreads.new(f, n)
    all[i]:start()
  end
  if meanwhile then meanwhile() end
  for _, thread in ipairs(all) do
    local fine, value = thread:join()
    check.equal(fine, true, value)
    check.equal(value, n)
  end
end

return threads
