-- Sudoku by constraint propagation and depth-first search, over puzzles made
-- from a pattern by renaming and swapping.   Usage: sudoku.lua [PUZZLES]
local puzzles = tonumber(arg[1]) or 40

local seed = 4711
local function random(n)
  seed = seed * 16807 % 2147483647
  return seed % n + 1
end

-- For each of the 81 cells, the 20 cells that share a row, column or box.
local peers = {}
for cell = 0, 80 do
  local row, column = math.floor(cell / 9), cell % 9
  local list = {}
  for other = 0, 80 do
    local r, c = math.floor(other / 9), other % 9
    local same_box = math.floor(r / 3) == math.floor(row / 3) and math.floor(c / 3) == math.floor(column / 3)
    if other ~= cell and (r == row or c == column or same_box) then list[#list + 1] = other + 1 end
  end
  peers[cell + 1] = list
end

local searched = 0

-- state[cell] is a digit or 0; blocked[cell][digit] counts the peers with it.
local function place(state, blocked, cell, digit, step)
  state[cell] = step == 1 and digit or 0
  for _, peer in ipairs(peers[cell]) do
    blocked[peer][digit] = blocked[peer][digit] + step
  end
end

local function most_constrained(state, blocked)
  local best, fewest = nil, 10
  for cell = 1, 81 do
    if state[cell] == 0 then
      local free = 0
      local b = blocked[cell]
      for digit = 1, 9 do
        if b[digit] == 0 then free = free + 1 end
      end
      if free < fewest then
        best, fewest = cell, free
        if free < 2 then break end
      end
    end
  end
  return best
end

-- Counts solutions up to `limit`; keeps the first in `found`.
local function search(state, blocked, limit, found)
  searched = searched + 1
  local cell = most_constrained(state, blocked)
  if not cell then
    if #found == 0 then
      for i = 1, 81 do found[i] = state[i] end
    end
    return 1
  end
  local solutions = 0
  for digit = 1, 9 do
    if blocked[cell][digit] == 0 then
      place(state, blocked, cell, digit, 1)
      solutions = solutions + search(state, blocked, limit - solutions, found)
      place(state, blocked, cell, digit, -1)
      if solutions >= limit then break end
    end
  end
  return solutions
end

local function solve(givens, limit)
  local state, blocked = {}, {}
  for cell = 1, 81 do
    state[cell] = 0
    blocked[cell] = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  end
  for cell = 1, 81 do
    if givens[cell] ~= 0 then place(state, blocked, cell, givens[cell], 1) end
  end
  local found = {}
  return search(state, blocked, limit, found), found
end

-- A full grid from a formula, with digits renamed and rows swapped in a band.
local function full_grid()
  local names, rows = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, {}
  for i = 9, 2, -1 do
    local j = random(i)
    names[i], names[j] = names[j], names[i]
  end
  for band = 0, 2 do
    local first = random(3)
    for i = 0, 2 do rows[#rows + 1] = band * 3 + (first + i) % 3 end
  end
  local grid = {}
  for r = 0, 8 do
    local row = rows[r + 1]
    for c = 0, 8 do grid[#grid + 1] = names[(row * 3 + math.floor(row / 3) + c) % 9 + 1] end
  end
  return grid
end

-- Takes digits away in random order as long as one solution remains.
local function make_puzzle()
  local grid, order = full_grid(), {}
  for i = 1, 81 do order[i] = i end
  for i = 81, 2, -1 do
    local j = random(i)
    order[i], order[j] = order[j], order[i]
  end
  local givens = 81
  for i = 1, 60 do
    local cell = order[i]
    local digit = grid[cell]
    grid[cell] = 0
    if solve(grid, 2) > 1 then grid[cell] = digit else givens = givens - 1 end
  end
  return grid, givens
end

local function show(grid)
  for r = 0, 8 do
    local line = {}
    for c = 1, 9 do line[c] = grid[r * 9 + c] == 0 and "." or grid[r * 9 + c] end
    print("  " .. table.concat(line, " "))
  end
end

for number = 1, puzzles do
  searched = 0
  local puzzle, givens = make_puzzle()
  local solutions, grid = solve(puzzle, 2)
  print(string.format("puzzle %d: %d givens, %d solution, %d nodes", number, givens, solutions, searched))
  if number == puzzles then
    show(puzzle)
    print()
    show(grid)
  end
end
