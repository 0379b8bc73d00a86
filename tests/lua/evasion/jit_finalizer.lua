-- An endless finalizer that runs while compiled code is left.
-- Only: luajit

local t = {}
local function work() for i = 1, 1e5 do t[1] = { i } end end
work()
for _ = 1, 3 do getmetatable(newproxy(true)).__gc = function() while true do end end end
while true do pcall(work) end
