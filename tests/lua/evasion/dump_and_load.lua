-- Strips the code of all that a hook could look at, and runs that.

local compile = loadstring or load
local function spin() while true do end end
while true do pcall(compile(string.dump(spin, true))) end
