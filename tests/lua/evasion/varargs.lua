-- Passes more and more arguments around.

local unpack = table.unpack or unpack
local t = {}
for i = 1, 200 do t[i] = i end
local function f(...) return select("#", ...) + f(...) end
while true do pcall(f, unpack(t)) end
