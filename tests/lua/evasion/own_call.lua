-- A call with limits of its own catches what stops it.

local leash = require "leash"
local function spin() while true do end end
while true do leash.call(1000, spin) end
