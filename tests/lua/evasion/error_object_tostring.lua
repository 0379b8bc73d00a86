-- An error object whose __tostring never returns, for whoever wants to show it.

local object = setmetatable({}, { __tostring = function() while true do end end })
while true do
  local _, e = pcall(error, object)
  pcall(tostring, e)
end
