-- Sets a hook on each coroutine before it runs, and removes it inside.

local function spin() while true do debug.sethook() end end
while true do
  local co = coroutine.create(spin)
  debug.sethook(co, function() end, "", 1)
  coroutine.resume(co)
end
