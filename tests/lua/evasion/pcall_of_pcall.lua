-- Each catch is itself a C function: no Lua code between two of them.

local function spin() while true do end end
while true do pcall(pcall, pcall, pcall, spin) end
