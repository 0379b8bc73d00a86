-- Runaway: replaces the host's hook by a count hook of its own, then loops.
-- A thread has one hook only: whoever sets it last owns it.
local ticks = 0
debug.sethook(function() ticks = ticks + 1 end, "", 1000)

while true do end
