-- string.gsub with a pattern that backtracks for ever, inside a replacement function.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
local function forever() return (s:gsub(("a*"):rep(30) .. "b", "")) end
while true do pcall(string.gsub, "x", "x", forever) end
