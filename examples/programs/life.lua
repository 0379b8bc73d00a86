-- Conway's Game of Life on a torus: a glider, every fourth generation of 16.
-- Usage: life.lua [GENERATIONS]
local generations = tonumber(arg and arg[1]) or 16
local width, height = 20, 8

local function grid()
  local g = {}
  for y = 1, height do
    g[y] = {}
    for x = 1, width do g[y][x] = 0 end
  end
  return g
end

local function neighbours(g, x, y)
  local n = -g[y][x]
  for dy = -1, 1 do
    local row = g[(y + dy - 1) % height + 1]
    for dx = -1, 1 do n = n + row[(x + dx - 1) % width + 1] end
  end
  return n
end

local function step(g)
  local new = grid()
  for y = 1, height do
    for x = 1, width do
      local n = neighbours(g, x, y)
      new[y][x] = (n == 3 or (n == 2 and g[y][x] == 1)) and 1 or 0
    end
  end
  return new
end

local function show(g, generation)
  print("generation " .. generation)
  for y = 1, height do
    print((table.concat(g[y]):gsub("0", "."):gsub("1", "#")))
  end
end

local g = grid()
for _, cell in ipairs { { 2, 1 }, { 3, 2 }, { 1, 3 }, { 2, 3 }, { 3, 3 } } do
  g[cell[2]][cell[1]] = 1
end

for generation = 0, generations do
  if generation % 4 == 0 then show(g, generation) end
  g = step(g)
end
