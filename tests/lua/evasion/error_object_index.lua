-- An error object that loops whenever it is looked at.

local function spin() while true do end end
local object = setmetatable({}, { __index = spin, __eq = spin, __concat = spin, __tostring = spin, __call = spin })
while true do
  local _, e = pcall(error, object)
  pcall(function() return e.reason end)
  pcall(function() return e .. "x" end)
end
