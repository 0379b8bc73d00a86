-- table.concat of many fields that are long.
-- Needs: guard_stdlib

local t, field = {}, ("x"):rep(10000)
for i = 1, 100000 do t[i] = field end
while true do pcall(table.concat, t, ", ") end
