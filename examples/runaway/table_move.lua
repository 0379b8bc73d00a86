-- Runaway: table.move of 2^53 elements that are all nil: one loop in C, no memory.
-- 5.3, 5.4, 5.5: the one call would last for years (20 ns each); 'leash run' has a table.move that it can stop.
-- LuaJIT: likewise, but there table.move is a loop of Lua bytecode.
-- 5.1, 5.2: no table.move; table.insert where nothing is, or says to be, instead: two billion steps.
if table.move then
  table.move({}, 1, 2^53, 1, {})
end

while true do
  pcall(table.insert, {}, -2^31, true)
  pcall(table.insert, setmetatable({}, { __len = function() return 2^31 - 2 end }), 1, true)
end
