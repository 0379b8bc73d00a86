-- Finalizers that do nothing but call with limits of their own, where hooks are off, among many coroutines, through all of which each such call goes.

local leash = require "leash"
local keep = {}
local function nothing() end
for i = 1, 3000 do keep[i] = coroutine.create(nothing) end
local limits = { instructions = 1 }
for _ = 1, 5 do
  with_finalizer(function() while true do leash.call(limits, nothing) end end)
end
while true do collectgarbage() end
