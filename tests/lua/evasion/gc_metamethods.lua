-- A finalizer that spends its time in metamethods and callbacks.

with_finalizer(function()
  local t = setmetatable({}, { __index = function(_, n) return n + 1 end })
  local n = 0
  while true do
    n = t[n]
    table.sort({ 3, 2, 1 }, function(a, b) return a < b end)
  end
end)
while true do collectgarbage() end
