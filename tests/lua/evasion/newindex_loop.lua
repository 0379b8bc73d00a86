-- A __newindex function that sets, and so calls itself.

local object = setmetatable({}, { __newindex = function(t, key) while true do pcall(rawset, t, key, nil) end end })
while true do pcall(function() object.x = 1 end) end
