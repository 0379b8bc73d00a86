-- A to-be-closed variable whose __close never returns.
-- Only: lua54 lua55

local function spin() while true do end end
while true do
  pcall(function() local guard <close> = setmetatable({}, { __close = spin }) end)
end
