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

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

-- What runs inside a coroutine, n times.
local running = {
  loop = function(n)
    local x = 0
    for i = 1, n * 1000 do x = (x * 5 + i) % 1048573 end
    return x
  end,
  tables = function(n)
    local t, sum = {}, 0
    for i = 1, 100 do t[i] = i end
    for _ = 1, n * 10 do
      for i = 1, 100 do
        t[i] = t[i] + 1
        sum = sum + t[i]
      end
    end
    return sum
  end,
  calls = function(n)
    for _ = 1, n do fib(10) end
  end,
  garbage = function(n)
    local last
    for i = 1, n * 30 do last = { i, tostring(i), last and last[1] } end
    return last
  end,
}

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

local clock = require "clock"
io.stdout:setvbuf("line")
for line in io.lines() do
  local n = assert(tonumber(line))
  local start = clock()
  measured(n)
  print(("%.9f"):format(clock() - start))
end
