-- A set of a million characters, asked for each character of the subject.
-- Needs: guard_stdlib

local s, set = ("a"):rep(100000), "[" .. ("b"):rep(1000000) .. "]"
while true do pcall(string.find, s, set) end
