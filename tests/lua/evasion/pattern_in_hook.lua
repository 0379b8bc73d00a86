-- The script's own hook matches for ever.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
debug.sethook(function() return s:find(("a*"):rep(30) .. "b") end, "", 1)
while true do end
