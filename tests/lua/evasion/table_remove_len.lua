-- table.remove from a table that says it is long.
-- Needs: guard_stdlib
-- Only: lua52 lua53 lua54 lua55

local t = setmetatable({}, { __len = function() return 2 ^ 31 - 2 end })
while true do pcall(table.remove, t, 1) end
