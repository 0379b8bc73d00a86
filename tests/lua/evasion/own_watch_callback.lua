-- A watch whose callback starts it afresh each time.

local corowatch = require "corowatch"
local function spin() while true do end end
while true do
  corowatch.resume(corowatch.watch(coroutine.create(spin), 0.002, 0.001, function() return true end))
end
