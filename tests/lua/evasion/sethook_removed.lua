-- Removes the hook in a loop, so that none survives.

while true do debug.sethook() end
