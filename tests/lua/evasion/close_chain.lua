-- A hundred variables to close, each of which is endless; each error closes the next.
-- Only: lua54 lua55

local function spin() while true do end end
local meta = { __close = spin }
local function nest(n)
  local guard <close> = setmetatable({}, meta)
  if n > 0 then nest(n - 1) end
  spin()
end
while true do pcall(nest, 100) end
