-- A method of a string, in a coroutine.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
while true do
  pcall(coroutine.wrap(function() return s:match(("(a-)"):rep(20) .. "b") end))
end
