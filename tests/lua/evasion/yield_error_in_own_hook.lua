-- A hook of its own that raises between any two instructions, those of calls of its own included.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
while true do
  -- Protected, and for this coroutine alone: LuaJIT has one hook for all, and where hooks were off until a stop came it may be called anywhere.
  pcall(coroutine.wrap(function()
    local me = coroutine.running()
    debug.sethook(function() if coroutine.running() == me then error "x" end end, "", 7)
    pcall(function() leash.call(0.001, function() while true do coroutine.yield() end end) end)
    debug.sethook()
  end))
end
