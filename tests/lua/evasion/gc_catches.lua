-- A finalizer that protects its endless code by pcall, in a loop.

local function spin() while true do end end
with_finalizer(function() while true do pcall(spin) end end)
while true do collectgarbage() end
