-- Runaway: makes and calls closures for ever, each over a fresh upvalue.
-- `compose` wraps the last ten into one another; then it starts again.
local function compose(f, n)
  return function(x) return f(x) + n end
end

while true do
  local f = function(x) return x end
  for i = 1, 10 do f = compose(f, i) end
  f(0)
end
