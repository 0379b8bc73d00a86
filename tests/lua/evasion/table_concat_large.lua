-- table.concat of many fields that are long. (LuaJIT keeps the original, which is over after a gigabyte or two: docs/stdlib.md.)
-- Needs: guard_stdlib
-- Only: lua51 lua52 lua53 lua54 lua55

local t, field = {}, ("x"):rep(10000)
for i = 1, 100000 do t[i] = field end
while true do pcall(table.concat, t, ", ") end
