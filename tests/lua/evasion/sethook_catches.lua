-- A hook that catches errors in a loop.

local function spin() while true do end end
debug.sethook(function() while true do pcall(spin) end end, "", 1)
while true do end
