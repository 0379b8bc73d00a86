-- repeat until false, with an upvalue in the condition.

local n = 0
repeat local x = n; n = (n + 1) % 10 until (function() return x < 0 end)()
