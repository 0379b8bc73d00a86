-- One of the programs that `cargo xtask bench` lets run in turn: INTERPRETER call.lua WORKLOAD VARIANT ["interpreted"]
--
-- Each line of the standard input is a number of repetitions; the answer is the CPU time that they took, in seconds. The workload "empty" is
-- a call of an empty function: by pcall, or by leash.call with one limit or another, from a table that is made once (and, "prepared", read once). The others are
-- code that runs, without Leash or inside one leash.call. The limits are never reached.

local workload, variant, interpreted = ...
if interpreted then jit.off() end

local limits = {
  timeout = { timeout = 3600 },
  prepared = { timeout = 3600 },
  cpu = { timeout = 3600, cpu = 3600 },
  memory = { timeout = 3600, memory = 2 ^ 30 },
  all = { timeout = 3600, cpu = 3600, memory = 2 ^ 30 },
}

local running = require "running"

local measured
if workload == "empty" then
  local function f() end
  if variant == "pcall" then
    local pcall = pcall
    measured = function(n)
      for _ = 1, n * 100 do pcall(f) end
    end
  else
    local leash, t = require "guarded", assert(limits[variant], variant)
    local call = leash.call
    if variant == "prepared" then t = leash.limits(t) end
    measured = function(n)
      for _ = 1, n * 100 do call(t, f) end
    end
  end
else
  local run = assert(running[workload], workload)
  if variant == "plain" then
    measured = run
  else
    local call, t = require "guarded".call, assert(limits[variant], variant)
    measured = function(n) assert(call(t, run, n)) end
  end
end

require "answer" (measured)
