-- Runaway: one call of string.find that backtracks for longer than any lifetime.
-- Twenty ".-" may share out 200 letters in some 10^27 ways before the search
-- for the missing "b" is given up. It stays in C: no Lua instruction, no hook,
-- but for the string.find that 'leash run' puts in its place.
local text = string.rep("a", 200)
local pattern = "^" .. string.rep(".-", 20) .. "b"

print(string.find(text, pattern))
