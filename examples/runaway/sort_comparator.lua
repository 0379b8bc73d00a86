-- Runaway: a table.sort comparison that never returns.
-- The endless Lua function is called from the C function table.sort.
local function before(a, b)
  while a ~= b do end
  return false
end

table.sort({ 3, 1, 2 }, before)
