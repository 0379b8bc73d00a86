-- A finalizer that never returns. Lua runs finalizers with hooks off.

with_finalizer(function() while true do end end)
while true do collectgarbage() end
