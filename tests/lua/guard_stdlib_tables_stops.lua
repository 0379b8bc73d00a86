-- leash.guard_stdlib: the guarded functions of `table` stop, and go on when they may. That they do the same as the originals is in `guard_stdlib_tables.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so;target/modules-test/lua54/?.so' lua5.4 tests/lua/guard_stdlib_tables_stops.lua
--
-- What does not stop hangs: whoever runs this has a time limit.

local check = require "support.check"
local leash = require "leash"
leash.guard_stdlib()
local calls = require "support.calls"
local while_interrupted = require "support.while_interrupted"
local equal, ok, contains = check.equal, check.ok, check.contains
local stopped, clean_test, SHORT = calls.stopped, calls.clean_test, calls.SHORT

local old = check.engine == "lua51" or check.engine == "luajit"
local raw = old or check.engine == "lua52"

local function long(length) return setmetatable({}, { __len = function() return length end }) end

-- Half a billion long, as the search for its end finds. (5.5 searches with random steps, and LuaJIT keeps more in its array.)
local function sparse()
  local code = { "return { 1" }
  for i = 1, 29 do code[#code + 1] = ("[%d] = %d"):format(2 ^ i, i) end
  return (loadstring or load)(table.concat(code, ", ") .. " }")()
end

-- 90 tables behind each other.
local function chain()
  local t = {}
  for _ = 1, 90 do t = setmetatable({}, { __index = t, __newindex = t, __len = function() return 2 ^ 53 end }) end
  return t
end

-- The order for which a quicksort with the median of three takes longest: each pivot is the second smallest.
local function worst(n)
  local t, place, lo = {}, {}, 1
  for i = 1, n do place[i] = i end
  while n - lo > 2 do
    local middle = math.floor((lo + n) / 2)
    t[place[lo]], t[place[middle]] = lo, lo + 1
    place[middle], place[n - 1] = place[n - 1], place[middle]
    place[lo + 1], place[n - 1] = place[n - 1], place[lo + 1]
    lo = lo + 2
  end
  for i = lo, n do t[place[i]] = i end
  return t
end

-- Each takes a minute at least.
local endless = {}
local function add(name, f) endless[#endless + 1] = { name, f } end
if check.engine ~= "lua55" and check.engine ~= "luajit" then
  equal(#sparse(), 2 ^ 29)
  add("insert, sparse", function() table.insert(sparse(), 1, "x") end)
  add("remove, sparse", function() table.remove(sparse(), 1) end)
end
if old then
  add("insert, negative", function() table.insert({}, -2 ^ 31, "x") end)
  add("insert, negative, large", function()
    local t = {}
    for i = 1, 10000 do t[i] = i end
    table.insert(t, -2 ^ 31, "x")
  end)
else
  add("insert, length", function() table.insert(long(2 ^ 31 - 2), 1, "x") end)
  add("remove, length", function() table.remove(long(2 ^ 31 - 2), 1) end)
end
if raw then
  local t = worst(100000)
  add("sort, quadratic", function() table.sort(t) end)
else
  add("insert, chain", function() table.insert(chain(), 1, "x") end)
  add("remove, chain", function() table.remove(chain(), 1) end)
end
if table.move then
  add("move up", function() table.move({}, 1, 2 ^ 53, 2) end)
  add("move down", function() table.move({}, 1, 2 ^ 53, 0) end)
  add("move to another", function() table.move({}, 1, 2 ^ 53, 1, {}) end)
  add("move, chain", function() table.move(chain(), 1, 2 ^ 53, 2) end)
end

for _, case in ipairs(endless) do
  local name, f = case[1], case[2]
  clean_test("stops: " .. name, function()
    local err = stopped("timeout", leash.call(SHORT, f))
    contains(err.traceback, "guard_stdlib_tables_stops.lua")
    stopped("cpu", leash.call({ cpu = SHORT }, f))
    stopped("timeout", leash.call(SHORT, coroutine.wrap(f)))
    stopped("timeout", leash.call(SHORT, function() while true do pcall(f) end end))
    stopped("timeout", leash.call(SHORT, function() while true do coroutine.wrap(function() pcall(f) end)() end end))
    collectgarbage()
  end)
end

clean_test("stops: what is long for there is much", function()
  local works = { table.concat, table.sort, function(t) table.insert(t, 1, 1) end, function(t) table.remove(t, 1) end }
  for _, f in ipairs(works) do
    local t = {}
    for i = 1, 300000 do t[i] = (i * 7919 % 300007) / 7 end
    stopped("timeout", leash.call(SHORT, function() while true do pcall(f, t) end end))
  end
  collectgarbage()
end)

-- A sort that is stopped leaves the same elements, in some order.
clean_test("nothing is lost", function()
  for i = 1, 20 do
    local t = {}
    for k = 1, 20000 do t[k] = k * 7919 % 20011 end
    leash.call(i / 2000, table.sort, t)
    local seen, count = {}, 0
    for k = 1, #t do
      if not seen[t[k]] then count = count + 1 end
      seen[t[k]] = true
    end
    equal(#t, 20000)
    equal(count >= 19998, true) -- an exchange may be half done, as in any sort that is stopped
  end
end)

clean_test("the memory limit counts results", function()
  local t = {}
  for i = 1, 1000 do t[i] = ("x"):rep(10000) end
  stopped("memory", leash.call({ memory = 1000000 }, table.concat, t))
  equal(#select(2, leash.call({ memory = 100000000 }, table.concat, t)), 10000000)
  collectgarbage()
end)

-- LuaJIT: what is appended is appended in compiled code.
clean_test("loops over short calls stop", function()
  local insert, remove, concat, sort = table.insert, table.remove, table.concat, table.sort
  local loops = {
    function() local t = {} while true do insert(t, 1) remove(t) end end,
    function() local t = { 1, 2, 3 } while true do insert(t, 1, 1) remove(t, 1) end end,
    function() local t = { 1, 2, 3 } while true do concat(t) sort(t) end end,
    function() while true do pcall(insert) pcall(insert, 1) pcall(remove, 1, 1) pcall(concat, { {} }) pcall(sort, { 1, "x" }) end end,
    function() while true do local t = {} for i = 1, 100 do insert(t, i) end end end,
  }
  for i = 1, #loops do
    stopped("timeout", leash.call(SHORT, loops[i]))
    stopped("timeout", leash.call(SHORT, function() while true do pcall(loops[i]) end end))
  end
end)

-- Interrupts that do not stop ----------------------------------------------------------------------------------------------------

local function numbers(n)
  local t = {}
  for i = 1, n do t[i] = i * 7919 % 300007 end
  return t
end

local works = {
  { "sort", function()
    local t = numbers(100000)
    table.sort(t)
    for i = 2, #t do
      if t[i - 1] >= t[i] then error("not sorted") end
    end
  end },
  { "insert and remove", function()
    local t = numbers(300000)
    table.insert(t, 1, "x")
    equal(#t, 300001)
    equal(t[300001], 300000 * 7919 % 300007)
    equal(table.remove(t, 1), "x")
    for i = 1, 300000 do
      if t[i] ~= i * 7919 % 300007 then error("wrong at " .. i) end
    end
  end },
}
if check.engine ~= "luajit" then
  local expected
  works[#works + 1] = { "concat", function()
    local s = table.concat(numbers(100000), ",")
    expected = expected or s
    ok(s == expected and #s > 500000)
  end }
  if table.move then
    works[#works + 1] = { "move", function()
      local t = table.move(numbers(300000), 1, 300000, 2, {})
      for i = 1, 300000 do
        if t[i + 1] ~= i * 7919 % 300007 then error("wrong at " .. i) end
      end
    end }
  end
end

for _, work in ipairs(works) do
  clean_test("goes on after a handler: " .. work[1], function()
    while_interrupted(3, work[2])
    collectgarbage()
  end)
end

-- A table that is full, and of which an element that moves to a new key, while the old one becomes nil, has all rebuilt: 65,535 elements each time. The original
-- moves blocks of them, in which no hook runs; rebuilding takes memory, and that is refused when the time is up.
if table.move then
  local function full(k)
    local t, n = {}, 2 ^ (k - 1) + 2 ^ (k - 2)
    for i = 1, n do t["k" .. i] = i end
    for i = 0, 999 do t[3 * i + 1000001] = 1 end
    for i = n + 1, 2 ^ k - 1001 do t["k" .. i] = i end
    return t
  end
  clean_test("a table that is rebuilt for each element", function()
    for _ = 1, 5 do
      local t = full(16)
      stopped("timeout", leash.call(0.001, function() table.move(t, 1000001, 1003000, 1000002) end))
      local moved = 0
      for i = 0, 999 do
        if t[3 * i + 1000002] then moved = moved + 1 end
      end
      -- A block of the original has 170. 5.5 rebuilds the table once, and is quick from then on.
      ok(check.engine == "lua55" or moved < 100, moved .. " were moved")
      local keys = 0
      for key, value in pairs(t) do
        ok(type(key) == "number" and value == 1 or key == "k" .. value)
        keys = keys + 1
      end
      ok(keys >= 2 ^ 16 - 2, keys)
    end
  end)
  -- What memory is refused to is no error of the script's, nor caught by it.
  clean_test("a table that is rebuilt for each element, in pcall", function()
    local t = full(16)
    stopped("timeout", leash.call(0.001, function()
      while true do pcall(table.move, t, 1000001, 1003000, 1000002) end
    end))
    stopped("cpu", leash.call({ cpu = 0.001 }, function()
      while true do pcall(table.move, t, 1000002, 1003001, 1000001) end
    end))
  end)
end

check.finish()
