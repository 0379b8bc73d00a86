-- Runaway: a loop made of goto (5.2 and later, LuaJIT).
-- Lua 5.1 has no goto: there the source does not compile and repeat does it.
local compile = loadstring or load
local loop = compile("::again:: goto again")

if loop then loop() end
repeat until false
