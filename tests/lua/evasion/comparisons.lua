-- __eq, __lt and __le that never come to an end.

local meta = {}
local a, b = setmetatable({}, meta), setmetatable({}, meta)
meta.__eq = function() while true do end end
meta.__lt = function() while not pcall(function() return a == b end) do end return true end
meta.__le = meta.__lt
while true do pcall(function() return a < b and a <= b end) end
