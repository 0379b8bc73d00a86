-- A finalizer that raises and catches errors of its own.

with_finalizer(function() while true do pcall(error, "x") end end)
while true do collectgarbage() end
