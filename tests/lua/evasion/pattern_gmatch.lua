-- The iterator of string.gmatch does not come to its first match.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
local function try() for _ in s:gmatch(("a*"):rep(30) .. "b") do end end
while true do pcall(try) end
