-- A __pairs that returns an endless iterator.
-- Only: lua52 lua53 lua54 lua55

local object = setmetatable({}, { __pairs = function(t) return function() return 1 end, t end })
while true do pcall(function() for _ in pairs(object) do end end) end
