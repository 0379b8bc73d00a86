-- Fannkuch: over all permutations of 1..n, the greatest number of prefix
-- reversals until 1 comes first, and a checksum; for n up to N.
-- Usage: fannkuch.lua [N]
local largest = tonumber(arg[1]) or 9

local function flips(source, work, n)
  for i = 1, n do work[i] = source[i] end
  local count = 0
  local first = work[1]
  while first ~= 1 do
    local i, j = 1, first
    while i < j do
      work[i], work[j] = work[j], work[i]
      i, j = i + 1, j - 1
    end
    count = count + 1
    first = work[1]
  end
  return count
end

-- Next permutation in the order of rotations: rotate the first `level` items;
-- after `level` rotations the next longer prefix is turned.
local function next_permutation(p, turned, n)
  for level = 2, n do
    local first = p[1]
    for i = 1, level - 1 do p[i] = p[i + 1] end
    p[level] = first
    turned[level] = turned[level] + 1
    if turned[level] < level then return true end
    turned[level] = 0
  end
  return false
end

local function fannkuch(n)
  local p, turned, work = {}, {}, {}
  for i = 1, n do p[i], turned[i] = i, 0 end

  local most, checksum, sign = 0, 0, 1
  local histogram = {}
  repeat
    local count = flips(p, work, n)
    if count > most then most = count end
    histogram[count] = (histogram[count] or 0) + 1
    checksum = checksum + sign * count
    sign = -sign
  until not next_permutation(p, turned, n)
  return most, checksum, histogram
end

for n = 3, largest do
  local most, checksum, histogram = fannkuch(n)
  assert(select(2, fannkuch(n)) == checksum)   -- a second time, the same
  print(string.format("fannkuch(%d) = %d, checksum %d", n, most, checksum))
  if n == largest then
    for count = 0, most do print(string.format("%3d flips: %6d permutations", count, histogram[count])) end
  end
end
