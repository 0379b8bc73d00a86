-- string.rep of nothing, as often as it goes.
-- Needs: guard_stdlib

while true do pcall(string.rep, "", 1e15) pcall(string.rep, "", 2 ^ 31 - 1) end
