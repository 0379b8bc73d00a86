-- A hook that does nothing but call what takes some milliseconds, and then fails.
-- Needs: guard_stdlib

local digits = ("1"):rep(1000000) .. "x"
local text = ("f() "):rep(20000) .. "x x"
debug.sethook(function()
  while true do
    pcall(math.abs, digits);
    (loadstring or load)(text)
    debug.sethook()
  end
end, "", 1)
while true do end
