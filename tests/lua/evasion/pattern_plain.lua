-- A plain search that nearly succeeds everywhere.
-- Needs: guard_stdlib

local s, needle = ("a"):rep(2000000), ("a"):rep(1000000) .. "b"
while true do pcall(string.find, s, needle, 1, true) end
