-- Finalizers that go on making coroutines, each of which is nearly always inside a hook of its own.

local function idle() for _ = 1, 100 do end end
local function inside()
  debug.sethook(idle, "", 1)
  while true do end
end
local function many()
  for _ = 1, 1000 do
    debug.sethook(idle, "", 3)
    pcall(coroutine.wrap(inside))
  end
end
for _ = 1, 5 do with_finalizer(function() while true do pcall(many) end end) end
while true do collectgarbage() end
