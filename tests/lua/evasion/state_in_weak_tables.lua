-- Ephemerons and weak tables, emptied and filled.

local weak = setmetatable({}, { __mode = "k" })
while true do
  for _ = 1, 100 do local k = {} weak[k] = function() return k end end
  collectgarbage "step"
end
