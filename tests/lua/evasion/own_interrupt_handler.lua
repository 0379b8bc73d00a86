-- A handler for interrupts that never returns.

local mtint = require "mtint"
mtint.sethook(function() while true do end end)
mtint.interrupt(mtint.id())
while true do end
