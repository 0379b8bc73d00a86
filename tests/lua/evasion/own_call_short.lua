-- Shorter limits of its own, so that most stops are its own.

local leash = require "leash"
local function spin() while true do end end
while true do leash.call({ instructions = 1000 }, spin) leash.call(0, spin) end
