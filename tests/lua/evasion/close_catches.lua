-- A __close method that catches errors in a loop, called because of an error.
-- Only: lua54 lua55

local function spin() while true do end end
local function close() while true do pcall(spin) end end
while true do
  pcall(function()
    local guard <close> = setmetatable({}, { __close = close })
    error "x"
  end)
end
