-- A watch whose callback never returns.

local corowatch = require "corowatch"
local function spin() while true do end end
while true do
  corowatch.resume(corowatch.watch(coroutine.create(spin), 0.002, 0.001, spin))
end
