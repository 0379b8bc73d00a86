-- A hook that removes itself, sets itself and catches everything.

local function hook() debug.sethook() end
while true do
  pcall(debug.sethook, hook, "crl", 1)
  pcall(function() for _ = 1, 100 do end end)
end
