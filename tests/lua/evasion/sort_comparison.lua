-- table.sort calls a comparison that never returns.

while true do pcall(table.sort, { 3, 1, 2 }, function() while true do end end) end
