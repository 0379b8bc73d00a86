-- A hook that starts a coroutine with a hook of its own.

local function spin() while true do end end
local function hook()
  local co = coroutine.create(spin)
  debug.sethook(co, spin, "", 1)
  coroutine.resume(co)
end
debug.sethook(hook, "", 10)
while true do end
