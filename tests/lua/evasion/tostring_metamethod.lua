-- print and tostring of an object whose __tostring fails or loops.

local object = setmetatable({}, { __tostring = function() while true do end end })
while true do pcall(tostring, object) end
