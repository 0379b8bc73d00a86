-- A chain of twenty __index functions; the last one never returns.

local object = setmetatable({}, { __index = function() while true do end end })
for _ = 1, 19 do
  local inner = object
  object = setmetatable({}, { __index = function(_, key) return inner[key] end })
end
while true do pcall(function() return object.x end) end
