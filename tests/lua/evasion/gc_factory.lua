-- A finalizer that makes the next object with a finalizer.

local function finalizer()
  if not done then with_finalizer(finalizer) end
  for _ = 1, 100 do end
end
finalizer()
while true do collectgarbage() end
