-- table.move between tables whose elements are far away, behind other tables.
-- Needs: guard_stdlib
-- Only: lua53 lua54 lua55 luajit

local t = {}
for _ = 1, 90 do t = setmetatable({}, { __index = t, __newindex = t }) end
while true do pcall(table.move, t, 1, 2 ^ 53, 2) end
