-- Coroutines that are suspended in calls are closed, and do endless things then.
-- Only: lua54 lua55

local leash = require "leash"
local function suspended()
  local x <close> = setmetatable({}, { __close = function() while true do pcall(error) end end })
  leash.call(1000, coroutine.yield)
end
while true do
  local co = coroutine.create(function() leash.call(1000, suspended) end)
  coroutine.resume(co)
  coroutine.close(co)
end
