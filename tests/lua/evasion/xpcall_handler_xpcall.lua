-- Each handler starts the next protected call, with itself as the handler.

local function spin() while true do end end
local function handler() xpcall(spin, handler) end
while true do xpcall(spin, handler) end
