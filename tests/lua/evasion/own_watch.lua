-- Watched coroutines, made again as soon as they are killed.

local corowatch = require "corowatch"
local function spin() while true do pcall(error) end end
while true do corowatch.resume(corowatch.watch(coroutine.create(spin), 0.001)) end
