-- A generic for over a coroutine that never ends.

while true do
  pcall(function()
    for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end
  end)
end
