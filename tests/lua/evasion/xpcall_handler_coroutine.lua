-- The handler goes on in a fresh coroutine.

local function spin() while true do end end
local function handler() while true do coroutine.resume(coroutine.create(spin)) end end
while true do xpcall(spin, handler) end
