-- An __index function that asks itself, down to the C stack overflow.

local object = setmetatable({}, {})
getmetatable(object).__index = function(t, key) return t[key .. "x"] end
while true do pcall(function() return object.x end) end
