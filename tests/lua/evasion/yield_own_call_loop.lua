-- A call of its own that is suspended and resumed for ever.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local co = coroutine.create(function()
  while true do leash.call(1000, function() while true do coroutine.yield() end end) end
end)
while true do coroutine.resume(co) end
