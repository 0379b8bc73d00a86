-- An iterator that yields out of calls in calls, each with a limit that is reached.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local function deep(n)
  if n == 0 then
    while true do coroutine.yield(1) end
  end
  leash.call({ timeout = 0.002 * n, instructions = 1e9, memory = 2 ^ 40 }, deep, n - 1)
end
while true do
  for _ in coroutine.wrap(function() pcall(deep, 20) end) do end
end
