-- Hooks are taken away from a coroutine that is suspended in a call.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local co = coroutine.create(function()
  while true do
    leash.call(0.001, function() while true do coroutine.yield() end end)
  end
end)
while true do
  coroutine.resume(co)
  pcall(debug.sethook, co)
end
