-- Runaway: an endless loop 100 coroutines deep (C Lua allows about 200).
-- Each level resumes the next one and, were it ever stopped, would start it again.
local function level(depth)
  if depth == 0 then
    while true do end
  end
  while true do
    coroutine.resume(coroutine.create(level), depth - 1)
  end
end

level(100)
