-- Keys that share a place in a table as soon as it grows (5.4): the one assignment that has it grow takes the square of their number, and nothing interrupts it.

local bits = 13
local step = 2 ^ (bits + 1) - 1
step = math.tointeger and math.tointeger(step) or step
while true do
  local t = {}
  for i = 1, 2 ^ bits + 1 do t[i * step] = true end
end
