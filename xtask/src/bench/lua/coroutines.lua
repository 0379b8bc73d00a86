-- One of the programs that `cargo xtask bench` lets run in turn: INTERPRETER coroutines.lua NUMBER VARIANT
--
-- So many coroutines, plain ("plain") or under corowatch ("watched"). Each line of the standard input is a number of repetitions; the answer
-- is the CPU time that they took, in seconds. A repetition is a hundred resumes, each of the next coroutine.

local number, variant = ...
number = tonumber(number)

local resume, create = coroutine.resume, coroutine.create
if variant == "watched" then
  require "guarded"
  local corowatch = require "corowatch"
  local function cb() end
  resume = corowatch.resume
  create = function(f) return corowatch.watch(coroutine.create(f), 3600, 1800, cb) end
end

local yield = coroutine.yield
local function body()
  while true do yield() end
end
local all = {}
for i = 1, number do
  all[i] = create(body)
  resume(all[i])
end
collectgarbage()

local at = 0
local clock = require "clock"
io.stdout:setvbuf("line")
for line in io.lines() do
  local repetitions = assert(tonumber(line))
  local start = clock()
  for _ = 1, repetitions * 100 do
    at = at + 1
    if at > number then at = 1 end
    resume(all[at])
  end
  print(("%.9f"):format(clock() - start))
end
