-- A hundred coroutines inside each other; each would start the next one anew.

local function level(depth)
  while true do
    if depth == 0 then while true do end end
    coroutine.resume(coroutine.create(level), depth - 1)
  end
end
level(100)
