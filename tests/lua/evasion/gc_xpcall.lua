-- A finalizer with a message handler that is endless, too.

local function spin() while true do end end
with_finalizer(function() while true do xpcall(error, spin, "x") end end)
while true do collectgarbage() end
