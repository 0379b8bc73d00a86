-- table.sort of numbers in the order for which a quicksort with the median of three takes longest: each pivot is the second smallest.
-- Needs: guard_stdlib

local n, t, place = 50000, {}, {}
for i = 1, n do place[i] = i end
local lo, value = 1, 0
while n - lo > 2 do
  local middle = math.floor((lo + n) / 2)
  t[place[lo]], t[place[middle]] = value + 1, value + 2
  value = value + 2
  place[middle], place[n - 1] = place[n - 1], place[middle]
  place[lo + 1], place[n - 1] = place[n - 1], place[lo + 1]
  lo = lo + 2
end
for i = lo, n do
  value = value + 1
  t[place[i]] = value
end
local copy = {}
while true do
  for i = 1, n do copy[i] = t[i] end
  pcall(table.sort, copy)
end
