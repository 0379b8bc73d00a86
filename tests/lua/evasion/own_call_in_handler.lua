-- A handler and a finalizer with limits of their own.

local leash = require "leash"
local function spin() while true do end end
local function handler() while true do leash.call(1000, spin) end end
with_finalizer(handler)
while true do xpcall(spin, handler) end
