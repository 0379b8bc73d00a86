-- Runaway: prints a line per iteration, for ever.
-- It spends its time in the C function print and in write(2), not in Lua code.
local n = 0
while true do
  n = n + 1
  print("still here", n)
end
