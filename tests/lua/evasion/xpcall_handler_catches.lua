-- The handler protects itself by pcall, in a loop.

local function spin() while true do end end
local function handler() while true do pcall(spin) end end
while true do xpcall(spin, handler) end
