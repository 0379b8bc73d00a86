-- Finalizers that go on in protected calls where calls are as deep as Lua lets them be, or nearly.

local function spin() while true do end end
local function go_down(n) if n > 0 then return (go_down(n - 1)) end end
local function go_down_and_spin(n)
  if n > 0 then return (go_down_and_spin(n - 1)) end
  while true do pcall(spin) end
end

local function deepest()
  local low, high = 0, 250000
  while high - low > 1 do
    local n = math.floor((low + high) / 2)
    if pcall(go_down, n) then low = n else high = n end
  end
  return low
end

for less = 0, 6 do
  with_finalizer(function() pcall(go_down_and_spin, deepest() - less) end)
end
while true do collectgarbage() end
