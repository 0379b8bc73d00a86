-- table.sort of long strings that differ at the end.
-- Needs: guard_stdlib

local a, b = ("x"):rep(1000000) .. "a", ("x"):rep(1000000) .. "b"
local t = {}
for i = 1, 100000 do t[i] = i % 3 == 0 and a or b end
while true do pcall(table.sort, t) end
