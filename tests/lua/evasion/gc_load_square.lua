-- A finalizer that compiles a text which takes the square of its length: minutes.
-- Needs: guard_stdlib

local text = "local a return " .. ("a and "):rep(300000) .. "a"
with_finalizer(function() while true do pcall(loadstring or load, text) end end)
while true do collectgarbage() end
