-- Starts LuaJIT's profiler in another mode, which takes the guards out of compiled code.
-- Only: luajit

local profile = require "jit.profile"
pcall(profile.start, "f", function() end)
local function spin() local n = 0 while true do n = (n + 1) % 7 end end
while true do pcall(spin) end
