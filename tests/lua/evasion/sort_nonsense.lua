-- A comparison that contradicts itself and catches the error of that.

local t = {}
for i = 1, 1000 do t[i] = i end
while true do pcall(table.sort, t, function(a, b) return (a * 7 + b) % 3 ~= 0 end) end
