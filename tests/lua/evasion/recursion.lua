-- Down to the stack overflow, back up by pcall, and again.

local function descend(n) return 1 + descend(n + 1) end
while true do pcall(descend, 1) end
