-- A finalizer that collects, so that the next finalizer runs inside it.

local function finalizer()
  with_finalizer(function() while true do end end)
  collectgarbage()
  while true do end
end
with_finalizer(finalizer)
while true do collectgarbage() end
