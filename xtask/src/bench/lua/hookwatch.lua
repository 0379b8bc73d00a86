-- A watcher as one writes it in plain Lua: what the benchmarks compare corowatch with.
--
-- A count hook on each watched coroutine reads the clock every 10000 instructions, and raises an error when the coroutine has not
-- yielded in time; resume is wrapped to note when it began. A `pcall` inside the coroutine can swallow the error.

local M = {}

local clock, running, sethook = os.clock, coroutine.running, debug.sethook
local resume = coroutine.resume
local watched = setmetatable({}, { __mode = "k" })

local EVERY = 10000

local function hook()
  local watch = watched[running()]
  if not watch then return end
  local time = clock() - watch.started
  if watch.warn and time > watch.warn then
    watch.warn = nil
    watch.cb("warn")
  elseif time > watch.kill then
    error("coroutine exceeded its time of " .. watch.kill .. " seconds", 0)
  end
end

function M.watch(co, kill, warn, cb)
  watched[co] = { kill = kill, warn = warn, cb = cb, started = clock() }
  sethook(co, hook, "", EVERY)
  return co
end

function M.resume(co, ...)
  local watch = watched[co]
  if watch then watch.started = clock() end
  return resume(co, ...)
end

function M.wrap(f, kill, warn, cb)
  local co = M.watch(coroutine.create(f), kill, warn, cb)
  return function(...) return M.resume(co, ...) end
end

return M
