-- Functions of the table library call an endless __len.
-- Only: lua52 lua53 lua54 lua55

local object = setmetatable({}, { __len = function() while true do end end })
local unpack = table.unpack
while true do pcall(unpack, object) pcall(table.concat, object) pcall(table.insert, object, 1) end
