-- The guarded table.sort inside its own comparison, down to the C stack overflow.
-- Needs: guard_stdlib

local function nest(a, b)
  table.sort({ 3, 1, 2, 5, 4 }, nest)
  return a < b
end
while true do pcall(nest, 1, 2) end
