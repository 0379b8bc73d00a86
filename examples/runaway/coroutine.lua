-- Runaway: an endless loop inside a coroutine.
-- A hook set on the main thread is not set on coroutines that already exist.
local co = coroutine.create(function()
  coroutine.yield("ready")
  while true do end
end)

coroutine.resume(co)   -- runs to the yield
coroutine.resume(co)   -- never comes back
