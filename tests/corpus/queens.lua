-- N queens: all solutions for boards of 4 to N, those that are not mirror
-- images or rotations of an earlier one, and one board.   Usage: queens.lua [N]
local largest = tonumber(arg[1]) or 12

local function solve(n, visit)
  local columns, up, down, board = {}, {}, {}, {}
  local function place(row)
    if row > n then return visit(board) end
    for c = 1, n do
      if not (columns[c] or up[row + c] or down[row - c]) then
        columns[c], up[row + c], down[row - c], board[row] = true, true, true, c
        place(row + 1)
        columns[c], up[row + c], down[row - c] = nil, nil, nil
      end
    end
  end
  place(1)
end

local function turned(board, n)
  local t = {}
  for row = 1, n do t[board[row]] = n + 1 - row end
  return t
end

local function mirrored(board, n)
  local t = {}
  for row = 1, n do t[row] = n + 1 - board[row] end
  return t
end

-- The least of the eight images names the class a solution belongs to.
local function canonical(board, n)
  local least
  for _ = 1, 2 do
    for _ = 1, 4 do
      local key = table.concat(board, " ")
      if not least or key < least then least = key end
      board = turned(board, n)
    end
    board = mirrored(board, n)
  end
  return least
end

for n = 4, largest do
  local all, classes, seen, first = 0, 0, {}, nil
  solve(n, function(board)
    all = all + 1
    local key = canonical(board, n)
    if not seen[key] then
      seen[key] = true
      classes = classes + 1
    end
    first = first or table.concat(board, " ")
  end)
  print(string.format("%2d queens: %5d solutions, %4d classes, first %s", n, all, classes, first))
  if n == largest then
    for column in first:gmatch("%d+") do
      print(("."):rep(column - 1) .. "Q" .. ("."):rep(n - column))
    end
  end
end
