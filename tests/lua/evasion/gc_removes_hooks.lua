-- A finalizer that first of all removes what hook there is, and goes on to do so, and makes coroutines inside protected calls.

local function fine() local co = coroutine.wrap(function() return 1 end) return co() end
with_finalizer(function()
  debug.sethook()
  while true do pcall(fine) debug.sethook() end
end)
while true do collectgarbage() end
