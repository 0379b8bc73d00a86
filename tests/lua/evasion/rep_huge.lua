-- string.rep of a gigabyte.
-- Needs: guard_stdlib

while true do pcall(string.rep, "abc", 300000000) end
