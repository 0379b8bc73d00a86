-- The primes by Eratosthenes, and their gaps.   Usage: sieve.lua [LIMIT] [ROUNDS]
local limit, rounds = tonumber(arg[1]) or 200000, tonumber(arg[2]) or 5

local function sieve(n)
  local composite = {}
  for i = 1, n do composite[i] = false end
  local i = 2
  while i * i <= n do
    if not composite[i] then
      for k = i * i, n, i do composite[k] = true end
    end
    i = i + 1
  end
  return composite
end

local count, widest
for _ = 1, rounds do
  local composite = sieve(limit)
  local last = 2
  count, widest = 0, 0
  for i = 2, limit do
    if not composite[i] then
      count = count + 1
      if i - last > widest then widest = i - last end
      last = i
    end
  end
end
if limit == 1000000 then assert(count == 78498 and widest == 114) end
if limit == 200000 then assert(count == 17984 and widest == 86) end
print(string.format("%d primes up to %d, the widest gap is %d", count, limit, widest))
