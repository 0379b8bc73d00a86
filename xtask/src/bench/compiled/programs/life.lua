-- Conway's Life on a torus: a glider gun's worth of chaos from a fixed start, and gliders that must come home.
-- Usage: life.lua [GENERATIONS]
local generations = tonumber(arg[1]) or 100
local WIDTH, HEIGHT = 128, 96

local function board()
  local cells = {}
  for y = 1, HEIGHT do
    local row = {}
    for x = 1, WIDTH do row[x] = 0 end
    cells[y] = row
  end
  return cells
end

local function step(old, new)
  for y = 1, HEIGHT do
    local above, row, below = old[y > 1 and y - 1 or HEIGHT], old[y], old[y < HEIGHT and y + 1 or 1]
    local out = new[y]
    for x = 1, WIDTH do
      local left, right = x > 1 and x - 1 or WIDTH, x < WIDTH and x + 1 or 1
      local around = above[left] + above[x] + above[right] + row[left] + row[right]
        + below[left] + below[x] + below[right]
      if around == 3 or (around == 2 and row[x] == 1) then
        out[x] = 1
      else
        out[x] = 0
      end
    end
  end
end

local function alive(cells)
  local n, place = 0, 0
  for y = 1, HEIGHT do
    local row = cells[y]
    for x = 1, WIDTH do
      if row[x] == 1 then
        n = n + 1
        place = place + x * y
      end
    end
  end
  return n, place
end

local function run(cells, n)
  local other = board()
  for _ = 1, n do
    step(cells, other)
    cells, other = other, cells
  end
  return cells
end

-- A glider moves by one cell each way in four generations.
local glider = board()
glider[1][2], glider[2][3], glider[3][1], glider[3][2], glider[3][3] = 1, 1, 1, 1, 1
local n, place = alive(run(glider, 40))
local moved = 0
for _, cell in ipairs({ { 2, 1 }, { 3, 2 }, { 1, 3 }, { 2, 3 }, { 3, 3 } }) do
  moved = moved + (cell[1] + 10) * (cell[2] + 10)
end
assert(n == 5 and place == moved, "the glider is lost")

local cells, seed = board(), 7
for y = 1, HEIGHT do
  for x = 1, WIDTH do
    seed = (seed * 16807) % 2147483647
    if seed % 3 == 0 then cells[y][x] = 1 end
  end
end
print(string.format("%d generations: %d alive, %d", generations, alive(run(cells, generations))))
