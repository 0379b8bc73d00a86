-- A protected call in each level of a recursion.

local function descend(n) pcall(descend, n + 1) while true do end end
while true do pcall(descend, 1) end
