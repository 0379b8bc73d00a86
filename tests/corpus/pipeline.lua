-- Coroutines: a pipeline of producers, filters and consumers, a recursive
-- generator of permutations, a walk over two trees in step, and a scheduler.
-- Usage: pipeline.lua [SCALE]
local scale = tonumber(arg[1]) or 6

local function generator(body)
  return function(...)
    local a, b = ...
    return coroutine.wrap(function() body(a, b) end)
  end
end

local yield = coroutine.yield

-- 1. A pipeline: numbers -> drop multiples, one filter per prime -> pairs.
local integers = generator(function(limit)
  for i = 2, limit do yield(i) end
end)

local without_multiples = generator(function(source, prime)
  for n in source do
    if n % prime ~= 0 then yield(n) end
  end
end)

local primes = generator(function(limit)
  local source = integers(limit)
  while true do
    local prime = source()
    if not prime then return end
    yield(prime)
    if prime * prime <= limit then source = without_multiples(source, prime) end
  end
end)

local neighbours = generator(function(source)
  local previous = source()
  for n in source do
    yield({ previous, n })
    previous = n
  end
end)

local gaps, count = {}, 0
for pair in neighbours(primes(9000 * scale)) do
  local gap = pair[2] - pair[1]
  gaps[gap] = (gaps[gap] or 0) + 1
  count = count + 1
end
print(string.format("%d neighbouring primes", count))
for gap = 1, 60 do
  if gaps[gap] then print(string.format("  gap %2d: %d", gap, gaps[gap])) end
end

-- 2. Permutations by a generator that calls a generator at each level.
local function permutations(list)
  return coroutine.wrap(function()
    if #list == 0 then return yield({}) end
    for i = 1, #list do
      local rest = {}
      for j = 1, #list do
        if j ~= i then rest[#rest + 1] = list[j] end
      end
      for tail in permutations(rest) do
        table.insert(tail, 1, list[i])
        yield(tail)
      end
    end
  end)
end

local letters = { "a", "b", "c", "d", "e", "f", "g" }
for round = 1, scale do
  local hash, n, last = 0, 0, nil
  for p in permutations(letters) do
    n = n + 1
    last = table.concat(p)
    for i = 1, #last do hash = (hash * 33 + last:byte(i)) % 1000003 end
  end
  print(string.format("round %d: %d permutations, last %s, hash %d", round, n, last, hash))
end

-- 3. Two trees of different shape and the same leaves, compared in step.
local function tree(from, to, cut)
  if from == to then return from end
  local middle = math.floor(from + (to - from) * cut)
  return { tree(from, middle, cut), tree(middle + 1, to, cut) }
end

local function leaves(node)
  return coroutine.wrap(function()
    local function visit(n)
      if type(n) == "number" then return yield(n) end
      visit(n[1])
      visit(n[2])
    end
    visit(node)
  end)
end

local function same_fringe(a, b)
  local next_a, next_b = leaves(a), leaves(b)
  local n = 0
  while true do
    local x, y = next_a(), next_b()
    if x ~= y then return false, n end
    if not x then return true, n end
    n = n + 1
  end
end

local size = 20000 * scale
print("same fringe", same_fringe(tree(1, size, 0.5), tree(1, size, 0.3)))
print("same fringe", same_fringe(tree(1, size, 0.5), tree(1, size + 1, 0.7)))

-- 4. A round-robin scheduler: producers and consumers over a bounded buffer.
local buffer, capacity = {}, 8
local log = { put = 0, got = 0, waits = 0, sum = 0 }

local function producer(id, n)
  for i = 1, n do
    while #buffer >= capacity do
      log.waits = log.waits + 1
      yield("full")
    end
    buffer[#buffer + 1] = id * 1000 + i
    log.put = log.put + 1
    if i % 3 == 0 then yield("pause") end
  end
  return "done"
end

local function consumer(n)
  for _ = 1, n do
    while #buffer == 0 do
      log.waits = log.waits + 1
      yield("empty")
    end
    log.sum = (log.sum + table.remove(buffer, 1)) % 1000003
    log.got = log.got + 1
  end
  return "done"
end

local tasks = {}
local each = 6000 * scale
for id = 1, 4 do tasks[id] = { name = "producer " .. id, co = coroutine.create(producer), id, each } end
for id = 1, 2 do tasks[#tasks + 1] = { name = "consumer " .. id, co = coroutine.create(consumer), 2 * each } end

local turns = 0
while #tasks > 0 do
  for i = #tasks, 1, -1 do
    local task = tasks[i]
    local ok, state = coroutine.resume(task.co, task[1], task[2])
    assert(ok, state)
    turns = turns + 1
    if coroutine.status(task.co) == "dead" then
      print(string.format("%s: %s after %d turns", task.name, state, turns))
      table.remove(tasks, i)
    end
  end
end
print(string.format("put %d, got %d, waits %d, sum %d", log.put, log.got, log.waits, log.sum))
