-- A finalizer that does nothing but call with limits of its own, where hooks are off, among many coroutines, through all of which each such call goes.

local leash = require "leash"
local keep = {}
local function nothing() end
for i = 1, 3000 do keep[i] = coroutine.create(nothing) end
local limits = { instructions = 1 }
with_finalizer(function() while true do leash.call(limits, nothing) end end)
while true do collectgarbage() end
