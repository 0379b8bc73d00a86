-- A binary heap ordered by a comparison function; used by shortest_path.lua.
local Heap = {}
Heap.__index = Heap

local function new(before)
  return setmetatable({ size = 0, before = before }, Heap)
end

function Heap:push(item)
  local before = self.before
  local i = self.size + 1
  self.size = i
  while i > 1 do
    local parent = (i - i % 2) / 2
    if not before(item, self[parent]) then break end
    self[i] = self[parent]
    i = parent
  end
  self[i] = item
end

function Heap:pop()
  local before, size = self.before, self.size
  if size == 0 then return nil end
  local top, last = self[1], self[size]
  self[size] = nil
  size = size - 1
  self.size = size
  local i = 1
  while 2 * i <= size do
    local child = 2 * i
    if child < size and before(self[child + 1], self[child]) then child = child + 1 end
    if not before(self[child], last) then break end
    self[i] = self[child]
    i = child
  end
  if size > 0 then self[i] = last end
  return top
end

return { new = new }
