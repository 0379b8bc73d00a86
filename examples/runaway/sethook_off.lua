-- Runaway: removes the debug hook in its loop, so that no hook of the host
-- survives to stop it.
while true do
  debug.sethook()
end
