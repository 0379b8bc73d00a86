-- Coroutines that were suspended in calls of their own before the limit: its work is done in them.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local function spin() while true do end end
while true do
  local co = coroutine.create(function()
    leash.call(1000, function()
      while true do
        coroutine.yield()
        pcall(spin)
      end
    end)
  end)
  coroutine.resume(co)
  coroutine.wrap(function() leash.call(0.001, coroutine.resume, co) end)()
  coroutine.resume(co)
end
