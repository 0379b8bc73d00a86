-- A finalizer with a message handler that catches errors in a loop, of errors of all kinds.

local function spin() while true do end end
local function catch() while true do pcall(spin) end end
local function overflow() return 1 + overflow() end
with_finalizer(function() while true do xpcall(spin, catch) end end)
with_finalizer(function() while true do xpcall(error, catch) end end)
with_finalizer(function() while true do xpcall(overflow, catch) end end)
while true do collectgarbage() end
