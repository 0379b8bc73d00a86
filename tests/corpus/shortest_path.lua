-- Dijkstra's algorithm on a grid with costs, with two modules found through
-- package.path: lib.heap and lib.random.   Usage: shortest_path.lua [SIZE]
package.path = (arg[0]:match("^(.*[/\\])") or "./") .. "?.lua;" .. package.path
local heap = require("lib.heap")
local random = require("lib.random")
assert(require("lib.heap") == heap and package.loaded["lib.heap"] == heap)
print("modules", random.name, type(heap.new))
print("missing", (pcall(require, "lib.there_is_none")))

local size = tonumber(arg[1]) or 360
local roll = random.new(31337)

local cost = {}
for cell = 1, size * size do cost[cell] = roll(9) end
for _ = 1, size do   -- walls with a gap
  local y, gap = roll(size), roll(size)
  for x = 1, size do
    if math.abs(x - gap) > size / 4 then cost[(y - 1) * size + x] = 25 end
  end
end

local function dijkstra(from)
  local distance, previous, done = { [from] = 0 }, {}, {}
  local open = heap.new(function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  open:push({ 0, from })
  local settled = 0
  while true do
    local entry = open:pop()
    if not entry then return distance, previous, settled end
    local cell = entry[2]
    if not done[cell] then
      done[cell] = true
      settled = settled + 1
      local x = (cell - 1) % size
      local function relax(next_cell)
        local d = entry[1] + cost[next_cell]
        if not distance[next_cell] or d < distance[next_cell] then
          distance[next_cell], previous[next_cell] = d, cell
          open:push({ d, next_cell })
        end
      end
      if x > 0 then relax(cell - 1) end
      if x < size - 1 then relax(cell + 1) end
      if cell > size then relax(cell - size) end
      if cell <= size * (size - 1) then relax(cell + size) end
    end
  end
end

for _, from in ipairs { 1, size } do
  local distance, previous, settled = dijkstra(from)
  local target = from == 1 and size * size or size * (size - 1) + 1
  local steps, turns, cell, hash = 0, 0, target, 0
  while cell ~= from do
    local before = previous[cell]
    if previous[before] and before - cell ~= previous[before] - before then turns = turns + 1 end
    hash = (hash * 31 + cell) % 1000003
    steps, cell = steps + 1, before
  end
  local farthest = 0
  for i = 1, size * size do farthest = math.max(farthest, distance[i]) end
  print(string.format("from %d to %d: cost %d, %d steps, %d turns, hash %d; %d cells settled, farthest %d",
    from, target, distance[target], steps, turns, hash, settled, farthest))
end
