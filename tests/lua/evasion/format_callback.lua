-- string.format calls a __tostring that never returns.
-- Only: lua52 lua53 lua54 lua55

local object = setmetatable({}, { __tostring = function() while true do end end })
while true do pcall(string.format, "%s", object) end
