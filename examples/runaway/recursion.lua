-- Runaway: recursion down to the stack overflow, pcall back up, for ever.
-- `1 +` keeps it from being a tail call, so every level takes stack.
local function descend(n)
  return 1 + descend(n + 1)
end

while true do
  pcall(descend, 1)
end
