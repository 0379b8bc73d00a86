-- Twenty finalizers, each of them endless.

for _ = 1, 20 do with_finalizer(function() while true do end end) end
while true do collectgarbage() end
