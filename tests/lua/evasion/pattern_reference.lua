-- Back references to long captures.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
while true do pcall(string.find, s, "^(a*)(a*)(a*)%1%2%3b") end
