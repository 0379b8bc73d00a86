-- string.find with a pattern that backtracks for ever.
-- Needs: guard_stdlib

while true do pcall(string.find, ("a"):rep(100000), ("a*"):rep(30) .. "b") end
