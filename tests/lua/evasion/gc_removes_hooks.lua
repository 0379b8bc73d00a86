-- Finalizers that first of all remove what hook there is, and then make coroutines inside protected calls.

local function fine() local co = coroutine.wrap(function() return 1 end) return co() end
for _ = 1, 10 do
  with_finalizer(function()
    debug.sethook()
    while true do pcall(fine) debug.sethook() end
  end)
end
while true do collectgarbage() end
