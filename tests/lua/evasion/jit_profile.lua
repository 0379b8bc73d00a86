-- Starts LuaJIT's profiler in another mode, which takes the guards out of compiled code.
-- Only: luajit

local found, profile = pcall(require, "jit.profile") -- a LuaJIT may be built without it
if found then pcall(profile.start, "f", function() end) end
local function spin() local n = 0 while true do n = (n + 1) % 7 end end
while true do pcall(spin) end
