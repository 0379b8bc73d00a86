-- Raises stops that it has collected, in place of errors.

local leash = require "leash"
local _, old = leash.call(0, print)
local function spin() while true do end end
while true do
  pcall(error, old)
  leash.call(1000, error, old)
  xpcall(spin, function() error(old) end)
end
