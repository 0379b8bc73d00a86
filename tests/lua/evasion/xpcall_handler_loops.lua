-- The message handler never returns.

local function handler() while true do end end
while true do xpcall(error, handler, "x") end
