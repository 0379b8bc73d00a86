-- Runaway: a generic for whose iterator never returns nil.
-- It walks a linked list whose last node points back into the list.
local function nodes(first)
  local node
  return function()
    if node then node = node.next else node = first end
    return node
  end
end

local c = { value = 3 }
local b = { value = 2, next = c }
local a = { value = 1, next = b }
c.next = b

local sum = 0
for node in nodes(a) do
  sum = sum + node.value
end
