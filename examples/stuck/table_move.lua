-- Stuck: table.move of 2^53 elements that are all nil: one loop in C, no memory.
-- 5.3, 5.4, 5.5: the one call lasts for years (20 ns each).
-- LuaJIT: likewise, but there table.move is a loop of Lua bytecode.
-- 5.1, 5.2: no table.move; string.rep of an empty string instead, which 'leash run' makes an ordinary loop.
if table.move then
  table.move({}, 1, 2^53, 1, {})
end

while true do
  string.rep("", 2^31 - 1)
end
