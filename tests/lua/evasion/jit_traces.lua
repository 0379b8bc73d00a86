-- Compiled code of many kinds, in pcall.
-- Only: luajit

local function sum(t) local n = 0 for i = 1, #t do n = n + t[i] end return n end
local t = {}
for i = 1, 1000 do t[i] = i end
local function work() while true do sum(t) end end
while true do pcall(work) end
