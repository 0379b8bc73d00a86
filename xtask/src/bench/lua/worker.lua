-- One of the programs that `cargo xtask bench` lets run in turn: INTERPRETER worker.lua WORKLOAD VARIANT ["interpreted"]
--
-- Each line of the standard input is a number of repetitions; the answer is the CPU time that they took, in seconds. Which of the
-- variants runs a workload makes no difference to its code: plain coroutines, coroutines under corowatch, or under the count
-- hook of hookwatch.lua. The limits are never reached.

local workload, variant, interpreted = ...
local KILL, WARN = 3600, 1800
local function cb() end

-- Hooks do not run in compiled code: with a count hook the compiler has to be off.
if jit and (variant == "hook" or interpreted) then jit.off() end

local resume, yield = coroutine.resume, coroutine.yield
local create, wrap = coroutine.create, coroutine.wrap
if variant ~= "plain" then
  if variant == "watched" then require "guarded" end
  local module = require(variant == "watched" and "corowatch" or "hookwatch")
  resume, yield = module.resume, module.yield or yield
  create = function(f) return module.watch(coroutine.create(f), KILL, WARN, cb) end
  wrap = function(f) return (module.wrapf or module.wrap)(f, KILL, WARN, cb) end
end

-- What runs inside a coroutine, n times.
local running = require "running"

local measured
if running[workload] then
  local run = running[workload]
  local co = create(function(n)
    while true do n = yield(run(n)) end
  end)
  measured = function(n) assert(resume(co, n)) end
elseif workload == "resume" then
  local co = create(function() while true do yield() end end)
  measured = function(n)
    for _ = 1, n * 10 do resume(co) end
  end
elseif workload == "values" then
  local co = create(function(a, b, c) while true do a, b, c = yield(c, b, a) end end)
  measured = function(n)
    for i = 1, n * 10 do resume(co, i, co, nil) end
  end
elseif workload == "wrap" then
  local f = wrap(function() while true do yield() end end)
  measured = function(n)
    for _ = 1, n * 10 do f() end
  end
elseif workload == "many" then
  -- A scheduler: each resume is of another coroutine.
  local all = {}
  for i = 1, 100 do all[i] = create(function() while true do yield() end end) end
  measured = function(n)
    for _ = 1, n do
      for i = 1, 10 do
        for k = i, 100, 10 do resume(all[k]) end
      end
    end
  end
else
  error("no such workload: " .. tostring(workload))
end

require "answer" (measured)
