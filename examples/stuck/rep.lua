-- Stuck: string.rep of an empty string counts its repetitions down in C and
-- appends nothing each time: no memory, no Lua instruction, no hook.
-- 5.3, 5.4: one call with 2^53 lasts for months (3 ns each).
-- 5.1, 5.2: the count is a C int, one call lasts 4 to 7 s; the loop repeats it.
-- 5.5, LuaJIT: such a call returns at once; what is left is an ordinary loop.
local count = math.maxinteger and 2^53 or 2^31 - 1

while true do
  string.rep("", count)
end
