-- Runaway: compiles and runs new chunks for ever.
-- Every chunk is a new function, different from all before it.
local compile = loadstring or load   -- 5.1's load does not take a string
local n = 0

while true do
  n = n + 1
  local chunk = compile("local a = " .. n .. " return a * 2")
  chunk()
end
