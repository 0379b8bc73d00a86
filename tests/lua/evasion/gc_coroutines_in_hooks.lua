-- A finalizer that goes on making coroutines, each of which is nearly always inside a hook of its own.

local function idle() for _ = 1, 100 do end end
local function inside()
  debug.sethook(idle, "", 1)
  while true do end
end
with_finalizer(function()
  while true do
    debug.sethook(idle, "", 3)
    pcall(coroutine.wrap(inside))
  end
end)
while true do collectgarbage() end
