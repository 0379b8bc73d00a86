-- As gc_pcalls_nested, with a message handler that does the same, and is endless in the end.

local function spin() while true do end end
with_finalizer(function()
  local depth = 0
  local function f() depth = depth + 1 if depth > 100000 then pcall(spin) end repeat xpcall(f, f) until false end
  f()
end)
while true do collectgarbage() end
