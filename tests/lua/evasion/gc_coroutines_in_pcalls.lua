-- Two dozen finalizers, each in a coroutine that the one before it has made. Each makes a coroutine in each of its protected calls, and from 5.2 on none is collected meanwhile.

local depth = 0
local function fine() local co = coroutine.wrap(function() return 1 end) return co() end
local function finalizer()
  depth = depth + 1
  if depth < 25 then coroutine.wrap(function() with_finalizer(finalizer) collectgarbage() end)() end
  while true do pcall(fine) end
end
with_finalizer(finalizer)
while true do collectgarbage() end
