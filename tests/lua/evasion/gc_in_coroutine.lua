-- The finalizer runs while a coroutine is collecting.

local function spin() while true do end end
local function body()
  with_finalizer(function() while true do pcall(spin) end end)
  while true do collectgarbage() end
end
while true do coroutine.resume(coroutine.create(body)) end
