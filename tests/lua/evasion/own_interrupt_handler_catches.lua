-- A handler for interrupts that catches errors in a loop.

local mtint = require "mtint"
local function spin() while true do end end
mtint.sethook(function() while true do pcall(spin) end end)
mtint.interrupt(mtint.id())
while true do end
