-- A watch with a longer limit than that of the call.

local corowatch = require "corowatch"
local function spin() while true do end end
while true do corowatch.resume(corowatch.watch(coroutine.create(spin), 1000)) end
