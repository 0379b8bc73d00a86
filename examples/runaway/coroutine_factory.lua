-- Runaway: makes and resumes new coroutines for ever, each abandoned half-way.
-- Every one of them runs only for a moment; it is the making that never ends.
local function body(n)
  for i = 1, 10 do n = n + i end
  coroutine.yield(n)
end

while true do
  local co = coroutine.create(body)
  coroutine.resume(co, 1)
end
