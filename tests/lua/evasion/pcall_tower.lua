-- pcall calls pcall, a hundred times over; an error ends only the innermost.

local function spin() while true do end end
local function tower(depth)
  while true do
    if depth == 0 then spin() end
    pcall(tower, depth - 1)
  end
end
tower(100)
