-- Two coroutines that hand over to each other for ever.

local function player() while true do coroutine.yield() end end
local a, b = coroutine.wrap(player), coroutine.wrap(player)
while true do
  if not pcall(a) then a = coroutine.wrap(player) end
  if not pcall(b) then b = coroutine.wrap(player) end
end
