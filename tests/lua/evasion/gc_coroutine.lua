-- A finalizer that runs its endless code in coroutines, one after the other.

local function spin() while true do end end
with_finalizer(function()
  while true do coroutine.resume(coroutine.create(spin)) end
end)
while true do collectgarbage() end
