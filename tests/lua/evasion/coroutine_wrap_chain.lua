-- Thousands of coroutines inside each other, each of which puts its place in front of what passes for a message.

local function chain(depth)
  if depth == 0 then while true do end end
  coroutine.wrap(chain)(depth - 1)
end
with_finalizer(function() chain(5000) end)
while true do pcall(chain, 5000) end
