-- The sieve of Eratosthenes: counts the primes up to a limit and shows the last.
-- Usage: primes.lua [LIMIT]
local limit = tonumber(arg and arg[1]) or 100000

local composite = {}
for n = 2, math.floor(math.sqrt(limit)) do
  if not composite[n] then
    for multiple = n * n, limit, n do composite[multiple] = true end
  end
end

local primes = {}
for n = 2, limit do
  if not composite[n] then primes[#primes + 1] = n end
end

print(string.format("%d primes up to %d", #primes, limit))
print("the last ten: " .. table.concat(primes, " ", math.max(1, #primes - 9)))
