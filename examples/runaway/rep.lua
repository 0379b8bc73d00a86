-- Runaway: string.rep of an empty string, 2^53 or 2^31 times, for ever. The stock functions of 5.1 to 5.4
-- count down in C, for seconds (5.1, 5.2) or months; the one that 'leash run' puts in their place knows
-- what comes out, and what is left is an ordinary loop.
local count = math.maxinteger and 2^53 or 2^31 - 1

while true do
  string.rep("", count)
end
