-- Objects with __call that call each other.

local object = setmetatable({}, { __call = function() while true do end end })
for _ = 1, 50 do
  local inner = object
  object = setmetatable({}, { __call = function() return inner() end })
end
while true do pcall(object) end
