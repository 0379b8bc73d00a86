-- Linear algebra on tables of floats: product, LU decomposition with pivoting,
-- determinant, inverse, and a residual that must vanish.   Usage: matrix.lua [N]
local n = tonumber(arg[1]) or 240

local seed = 99
local function random()
  seed = seed * 16807 % 2147483647
  return seed / 2147483647
end

local Matrix = {}
Matrix.__index = Matrix

local function build(rows, columns, f)
  local m = setmetatable({ rows = rows, columns = columns }, Matrix)
  for i = 1, rows do
    local row = {}
    for j = 1, columns do row[j] = f(i, j) end
    m[i] = row
  end
  return m
end

function Matrix:transpose()
  return build(self.columns, self.rows, function(i, j) return self[j][i] end)
end

function Matrix.__mul(a, b)
  local columns = b:transpose()
  return build(a.rows, b.columns, function(i, j)
    local row, column, sum = a[i], columns[j], 0
    for k = 1, #row do sum = sum + row[k] * column[k] end
    return sum
  end)
end

function Matrix.__sub(a, b)
  return build(a.rows, a.columns, function(i, j) return a[i][j] - b[i][j] end)
end

function Matrix:norm()
  local most = 0
  for i = 1, self.rows do
    local sum = 0
    for j = 1, self.columns do sum = sum + math.abs(self[i][j]) end
    if sum > most then most = sum end
  end
  return most
end

-- Returns L and U in one matrix, the order of the rows, and the determinant.
function Matrix:decompose()
  local size = self.rows
  local lu, order, det = build(size, size, function(i, j) return self[i][j] end), {}, 1
  for i = 1, size do order[i] = i end
  for k = 1, size do
    local pivot = k
    for i = k + 1, size do
      if math.abs(lu[i][k]) > math.abs(lu[pivot][k]) then pivot = i end
    end
    if lu[pivot][k] == 0 then error("singular matrix") end
    if pivot ~= k then
      lu[k], lu[pivot] = lu[pivot], lu[k]
      order[k], order[pivot] = order[pivot], order[k]
      det = -det
    end
    local top = lu[k]
    det = det * top[k]
    for i = k + 1, size do
      local row = lu[i]
      local factor = row[k] / top[k]
      row[k] = factor
      for j = k + 1, size do row[j] = row[j] - factor * top[j] end
    end
  end
  return lu, order, det
end

function Matrix:inverse()
  local lu, order, det = self:decompose()
  local size = self.rows
  local columns = build(size, size, function() return 0 end)
  for c = 1, size do
    local x = columns[c]
    for i = 1, size do
      local sum = order[i] == c and 1 or 0
      local row = lu[i]
      for j = 1, i - 1 do sum = sum - row[j] * x[j] end
      x[i] = sum
    end
    for i = size, 1, -1 do
      local sum, row = x[i], lu[i]
      for j = i + 1, size do sum = sum - row[j] * x[j] end
      x[i] = sum / row[i]
    end
  end
  return columns:transpose(), det
end

local function identity(size)
  return build(size, size, function(i, j) return i == j and 1 or 0 end)
end

for _, size in ipairs { 2, 5, math.floor(n / 2), n } do
  local a = build(size, size, function(i, j) return random() - 0.5 + (i == j and 2 or 0) end)
  local inverse, det = a:inverse()
  local residual = (a * inverse - identity(size)):norm()
  print(string.format("%3d x %-3d  norm %.6f  determinant %.6e  inverse norm %.6f  residual %s",
    size, size, a:norm(), det, inverse:norm(), residual < 1e-9 and "ok" or "LARGE"))
end

print(pcall(function()
  return build(3, 3, function(i) return i end):decompose()
end) == false and "singular matrix found")
