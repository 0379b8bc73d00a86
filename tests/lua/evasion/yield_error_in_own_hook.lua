-- A hook of its own that raises between any two instructions, those of calls of its own included.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
while true do
  coroutine.wrap(function()
    debug.sethook(function() error "x" end, "", 7)
    pcall(function() leash.call(0.001, function() while true do coroutine.yield() end end) end)
    debug.sethook()
  end)()
end
