-- A finalizer with a coroutine that catches errors.

local function spin() while true do end end
local function body() while true do pcall(spin) end end
with_finalizer(function()
  while true do coroutine.resume(coroutine.create(body)) end
end)
while true do collectgarbage() end
