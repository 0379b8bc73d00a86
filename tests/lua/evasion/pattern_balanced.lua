-- %b on brackets that are never closed: quadratic.
-- Needs: guard_stdlib

local s = ("("):rep(1000000)
while true do pcall(string.find, s, "%b()") end
