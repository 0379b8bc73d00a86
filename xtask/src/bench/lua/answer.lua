-- How a program that is measured answers: each line of the standard input is a number of repetitions; the answer is the CPU time that they
-- took, in seconds.

local clock = require "clock"

return function(measured)
  io.stdout:setvbuf("line")
  for line in io.lines() do
    local n = assert(tonumber(line))
    local start = clock()
    measured(n)
    print(("%.9f"):format(clock() - start))
  end
end
