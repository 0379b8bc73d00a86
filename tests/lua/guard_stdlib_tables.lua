-- leash.guard_stdlib: the guarded functions of `table` do the same as the originals, on every input. That they stop is in `guard_stdlib_tables_stops.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/guard_stdlib_tables.lua
--
-- Corners by hand, then random calls: GUARD_ROUNDS of them (20000), from GUARD_SEED on (1). A difference names its seed; GUARD_ROUNDS=1 with it repeats that
-- call alone.

local check = require "support.check"
local tables = require "support.tables"
local leash = require "leash"
local test, equal, ok = check.test, check.equal, check.ok
local compare, compare_all, original, guarded, make = tables.compare, tables.compare_all, tables.original, tables.guarded, tables.make
local unpack = table.unpack or unpack

local old = check.engine == "lua51" or check.engine == "luajit"
local integers = math.maxinteger ~= nil
local MAX, MIN = math.maxinteger or 2 ^ 31 - 1, math.mininteger or -2 ^ 31

local function plain(...) return { make = make.plain { ... } } end

-- Installing --------------------------------------------------------------------------------------------------------------------

local REPLACED = {
  lua51 = { "insert", "remove", "concat", "sort" }, lua52 = { "insert", "remove", "concat", "sort" },
  lua53 = { "insert", "remove", "concat", "sort", "move" }, lua54 = { "insert", "remove", "concat", "sort", "move" }, lua55 = { "insert", "remove", "concat", "sort", "move" },
  luajit = { "insert", "sort" },
}

test("these functions are replaced, and no others", function()
  local replaced = {}
  for _, name in ipairs(REPLACED[check.engine]) do replaced[name] = true end
  for name, f in pairs(original) do
    equal(guarded[name] ~= f, replaced[name] or false, name)
    equal(type(guarded[name]), "function")
  end
end)

test("a second time does nothing", function()
  leash.guard_stdlib()
  for name in pairs(original) do equal(table[name], guarded[name], name) end
end)

test("an environment of one's own", function()
  local env = leash.guard_stdlib { string = {}, table = { insert = original.insert, add = original.insert, sort = print, x = 1 } }
  ok(env.table.insert ~= original.insert and env.table.add ~= original.insert)
  local t = {}
  env.table.insert(t, "a")
  env.table.add(t, 1, "b")
  equal(t[1] .. t[2], "ba")
  equal(env.table.sort, print) -- not the original
  equal(env.table.concat, nil) -- taken away: stays away
  equal(leash.guard_stdlib { string = {}, table = 1 }.table, 1)
  equal(leash.guard_stdlib { string = {} }.table, nil)
end)

-- LuaJIT: in front of `insert` is a Lua function, unless the compiler is off.
local compiler = rawget(_G, "jit") and jit.status()

test("they are C functions", function()
  for _, name in ipairs(REPLACED[check.engine]) do
    local lua = compiler and name == "insert"
    equal(debug.getinfo(guarded[name], "S").what, lua and "Lua" or "C")
    if not lua then equal(debug.getupvalue(guarded[name], 1), nil) end
  end
end)

if compiler then
  test("LuaJIT: what appends is compiled, and leaves no frame behind in errors", function()
    local util, traces = require "jit.util", 0
    local function count(what) if what == "stop" then traces = traces + 1 end end
    jit.flush()
    jit.attach(count, "trace")
    local t = {}
    for i = 1, 300 do table.insert(t, i) end
    jit.attach(count)
    equal(#t, 300)
    ok(traces >= 1)
    for i = 1, 20 do
      local info = util.traceinfo(i)
      ok(not info or info.linktype ~= "stitch", "it is stitched")
    end
    local trace = select(2, xpcall(function() table.insert(1, 2) return 1 end, debug.traceback))
    equal(select(2, trace:gsub("'insert'", "")), 2, trace) -- in the message, and one frame
    jit.off()
    equal(debug.getinfo(leash.guard_stdlib({ string = {}, table = { f = original.insert } }).table.f, "S").what, "C")
    jit.on()
  end)

  test("LuaJIT: the same calls in loops, which are compiled", function()
    local function run(insert, ...)
      local t, said = {}, {}
      for i = 1, 150 do said[i] = select(2, pcall(insert, t, ...)) end
      for i = 1, 150 do insert(t, ...) end
      for i = 1, 100 do insert(t, i % 7 + 1, i) insert(t, i) insert(t, nil) insert(t, "x" .. i) end
      return #t, #said, said[150], t[1], t[100], t[#t]
    end
    for _, args in ipairs { { n = 1, 1 }, { n = 1, "a" }, { n = 1 }, { n = 2, 1, 2 }, { n = 2, 1 }, { n = 2, -3, 1 }, { n = 2, "2", true } } do
      local theirs, ours = { run(original.insert, unpack(args, 1, args.n)) }, { run(guarded.insert, unpack(args, 1, args.n)) }
      for i = 1, 6 do equal(ours[i], theirs[i]) end
    end
  end)
end

-- The same ----------------------------------------------------------------------------------------------------------------------

local EDGES = {
  0, 1, 2, 3, 4, 5, 6, -1, -2, 100, "2", " 3 ", "0x2", 1.5, 2.0, "1.5", "x", "", true, false, {}, print, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 32 + 2, -2 ^ 31, 2 ^ 53, -2 ^ 53, 2 ^ 63, 1e100, -1e100,
  0 / 0, 1 / 0, -1 / 0, MAX, MIN, MAX - 1, MIN + 1,
}

-- Whether it is soon done: 5.1 and LuaJIT insert anywhere, and 5.4 anywhere in a table of negative length.
local function is_quick(p)
  p = tonumber(p) or 0
  return p > -1000 and (not old or p < 1000)
end

local function each_edge(f)
  for i = 1, #EDGES do f(EDGES[i]) end
end

local kinds = {
  { make = make.plain {} }, plain(1), plain("a", "b", "c"), plain(1, nil, 3), plain(1, 2, 3, 4, 5, 6, 7, nil, 9), { make = make.proxy { 1, 2, 3 } }, { make = make.inherits({ 1, 2 }, { 0, 0, 3, 4 }) },
  { make = make.long({ 1, 2, 3 }, 2) }, { make = make.long({ 1, 2, 3 }, 5) }, { make = make.proxy({ 1, 2, 3 }, 7) }, { make = make.long({ 1 }, -3) }, { make = make.long({ 1 }, 0) },
}

test("insert", function()
  for _, t in ipairs(kinds) do
    compare_all("insert", t)
    each_edge(function(p)
      compare_all("insert", t, p)
      if is_quick(p) then
        compare_all("insert", t, p, "new")
        compare_all("insert", t, p, nil)
        compare_all("insert", t, p, "new", 1)
      end
    end)
    compare_all("insert", t, nil)
    compare_all("insert", t, nil, 1)
  end
end)

test("remove", function()
  for _, t in ipairs(kinds) do
    compare_all("remove", t)
    compare_all("remove", t, nil)
    each_edge(function(p)
      if not is_quick(p) and not old then return end
      compare_all("remove", t, p)
      compare("protected", "remove", t, p, 1)
    end)
  end
end)

local LENGTHS = { 1, -1, -2, 1.5, "3", "x", {}, true, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 53, 2 ^ 63, MAX, MIN, MAX - 1, MIN + 1, 0 / 0, 1e100 }

test("lengths that are not", function()
  for _, length in ipairs(LENGTHS) do
    for _, t in ipairs { { make = make.long({ 1, 2, 3 }, length) }, { make = make.proxy({ 1, 2, 3 }, length) } } do
      compare_all("insert", t, "new")
      compare_all("insert", t)
      compare_all("remove", t)
      compare_all("concat", t)
      compare_all("concat", t, ",", 1, 3)
      compare_all("sort", t)
      local n = tonumber(length) or 0
      for _, p in ipairs { 0, -1, n - 2, n - 1, n, n + 1, n + 2, n == MAX and MIN or n } do
        if is_quick(p) then
          compare_all("insert", t, p, "new")
          compare_all("remove", t, p)
        end
      end
    end
  end
end)

test("concat", function()
  local lists = {
    {}, { "a" }, { "a", "b" }, { "a", 1, 2.5, 1e100, -0.0, 2 ^ 53, "" }, { "a", nil, "c" }, { "a", {} }, { true }, { "a", print }, { "", "", "" }, { ("x"):rep(300), ("y"):rep(3000), 7 },
    { ("x"):rep(100000), "a", ("y"):rep(9000), 1 }, { [0] = "zero", "one", [-1] = "less" }, { [MAX] = "last", [MAX - 1] = 1, [MIN] = "first", [MIN + 1] = 2 }, { io.stdout },
    { setmetatable({}, { __tostring = tostring, __name = "Mine" }) },
  }
  for _, list in ipairs(lists) do
    for _, t in ipairs { { make = make.plain(list) }, { make = make.proxy(list) }, { make = make.inherits({ list[1] }, list) } } do
      compare_all("concat", t)
      for _, separator in ipairs { "", ",", ", ", 12, 1.5, ("-"):rep(2000), "\0", {}, true } do compare_all("concat", t, separator) end
      each_edge(function(i)
        compare_all("concat", t, ",", i)
        compare_all("concat", t, ",", 1, i)
        compare("concat", "concat", t, ",", i, i)
        compare("concat", "concat", t, nil, nil, i)
      end)
      compare("concat", "concat", t, "", MIN, MIN + 1)
      compare("concat", "concat", t, "", MAX - 1, MAX)
      compare("concat", "concat", t, "", MAX, MIN)
      compare("concat", "concat", t, "", MIN, MAX)
      compare("concat", "concat", t, ",", 1, 2, 3, 4, 5)
    end
  end
  for _, n in ipairs { 15, 16, 17, 100, 1000, 20000 } do
    local list = {}
    for i = 1, n do list[i] = i % 3 == 0 and i or ("%x"):rep(i % 30):format(i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i) end
    compare("concat", "concat", { make = make.plain(list) })
    compare("concat", "concat", { make = make.plain(list) }, "; ", 3)
    compare("concat", "concat", { make = make.plain(list) }, ("sep"):rep(100))
  end
end)

test("move", function()
  if guarded.move == original.move then return end
  local ranges = { { 1, 0 }, { 1, 1 }, { 1, 3 }, { 2, 5 }, { 1, 40 }, { 5, 60 }, { -3, 30 }, { 0, 20 }, { 1, 17 } }
  for _, range in ipairs(ranges) do
    for _, to in ipairs { 1, 2, 3, 0, -5, 10, 50, 100, 41, 17, 18, 19 } do
      for _, list in ipairs { { 1, 2, 3, 4, 5 }, { 1, nil, 3, nil, nil, 6 }, { original.unpack and original.unpack({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 }) or 1 } } do
        for _, maker in ipairs { "plain", "proxy" } do
          local t = { make = make[maker](list) }
          compare_all("move", t, range[1], range[2], to)
          compare_all("move", t, range[1], range[2], to, nil)
          compare_all("move", t, range[1], range[2], to, plain("x", "y"))
          compare_all("move", t, range[1], range[2], to, { make = make.proxy { "x" } })
        end
      end
    end
  end
  each_edge(function(e)
    compare_all("move", plain(1, 2), e, e, 1)
    compare_all("move", plain(1, 2), 1, 2, e)
    compare_all("move", plain(1, 2), 1, 20, e)
    compare_all("move", plain(1, 2), 1, 2, 3, e)
    compare_all("move", plain(1, 2), 1, 20, 3, e)
    compare_all("move", e, 1, 20, 3)
    compare_all("move", plain(1, 2), "x", e, 1)
    compare_all("move", plain(1, 2), e, "x", 1)
  end)
  compare_all("move")
  compare_all("move", plain(1))
  compare_all("move", plain(1), 1)
  compare_all("move", plain(1), 1, 20)
  for _, from in ipairs { MIN, MIN + 1, -2, -1, 0, 1, 2 } do
    for _, last in ipairs { MAX, MAX - 1, MAX - 2, MAX - 3 } do
      for _, to in ipairs { MIN, 0, 1, 2, 3, 4, 5, MAX } do
        -- What is not refused takes for ever.
        if from < 0 and from + MAX <= last or from == 0 and last == MAX or to > MAX - (last - from + 1) + 1 then compare_all("move", plain(1, 2), from, last, to) end
      end
    end
  end
  for _, to in ipairs { MAX - 18, MAX - 19, MAX - 20, MAX, MIN, MIN + 5 } do
    compare_all("move", plain(1, 2, 3), 1, 20, to)
    compare_all("move", plain(1, 2, 3), MIN, MIN + 19, to)
    compare_all("move", plain(1, 2, 3), MAX - 19, MAX, to)
  end
end)

test("what stands in for a table", function()
  local f = function() end
  local had = debug.getmetatable(f)
  local fields = { __index = function(_, k) return k end, __newindex = function() end, __len = function() return 3 end }
  for bits = 0, 8 do
    local methods, bit = {}, bits
    for _, name in ipairs { "__index", "__newindex", "__len" } do
      if bit % 2 == 1 then methods[name] = fields[name] end
      bit = (bit - bit % 2) / 2
    end
    debug.setmetatable(f, bits < 8 and methods or nil)
    local fine, message = pcall(function()
      for _, value in ipairs { f, print } do
        compare_all("insert", value, 1)
        compare_all("insert", value, 1, 2)
        compare_all("remove", value)
        compare_all("remove", value, 1)
        compare_all("concat", value)
        compare_all("concat", value, ",", 2, 4)
        compare_all("sort", value)
        if original.move then
          compare_all("move", value, 1, 2, 3)
          compare_all("move", value, 1, 20, 3)
          compare_all("move", plain(1), 1, 20, 3, value)
          compare_all("move", value, 1, 20, 3, plain(1))
        end
      end
    end)
    debug.setmetatable(f, had)
    if not fine then error(message, 0) end
  end
  for _, value in ipairs { "", "abc", 12, true, io.stdout, coroutine.create(f) } do
    for _, name in ipairs(tables.names) do
      compare_all(name, value)
      compare_all(name, value, 1)
      compare_all(name, value, 1, 1)
      compare_all(name, value, "", 1, 0)
      compare_all(name, value, 1, 20, 3)
    end
  end
  for _, name in ipairs(tables.names) do
    compare_all(name)
    compare_all(name, nil)
    compare_all(name, nil, {}, {})
    compare_all(name, 1, {}, {})
    compare_all(name, plain(1), {}, {}, {})
  end
end)

test("called as methods", function()
  for i, set in ipairs { original, guarded } do
    local object, log = setmetatable({ 1, 2, 3 }, { __index = set }), {}
    local function note(_, message) log[#log + 1] = tostring(message) end
    note(pcall(function() object:insert(9, 1) end))
    note(pcall(function() object:insert("x", 1) end))
    note(pcall(function() object:insert(1, 2, 3) end))
    note(pcall(function() local r = object:remove(9) return r end))
    note(pcall(function() local r = object:remove {} return r end))
    note(pcall(function() local r = object:concat({}) return r end))
    note(pcall(function() local r = object:concat(",", 1, 9) return r end))
    note(pcall(function() object:sort(1) end))
    note(pcall(function() local r = object.insert return r(object, {}, 1) end))
    note(pcall(function() if set.move then local r = object:move(1, 20, {}) return r end end))
    set.said = original.concat(log, "\n")
    ok(i == 1 or set.said == original.said, set.said .. "\ninstead of\n" .. original.said)
  end
end)

test("sort", function()
  local lists = {
    {}, { 1 }, { 2, 1 }, { 1, 2 }, { 3, 1, 2 }, { 2, 2, 2 }, { "b", "a" }, { "b", "a", 1 }, { 1, "1" }, { 1, nil, 2 }, { true, false }, { {}, {} }, { 1, 2, {} }, { 0 / 0, 1, 2 }, { 1.5, 1, 2, -0.0, 0 },
    { "a\0b", "a\0a", "a", "" }, { ("x"):rep(5000) .. "b", ("x"):rep(5000) .. "a", ("x"):rep(5000) },
  }
  for _, list in ipairs(lists) do
    for _, kind in ipairs { "plain", "proxy" } do
      local t = { make = make[kind](list) }
      compare_all("sort", t)
      compare_all("sort", t, nil)
      compare_all("sort", t, nil, 1)
      compare_all("sort", t, function(a, b) return tostring(a) > tostring(b) end)
      compare_all("sort", t, function() return true end)
      for _, wrong in ipairs { 1, "x", {}, true, false } do compare_all("sort", t, wrong) end
    end
  end
  for n = 1, 99 do
    local list = {}
    for i = 1, n do list[i] = ("%02d"):format(i * 37 % 101 % (n % 3 == 0 and 5 or 1000)) end
    for _, less in ipairs { function(a, b) return a < b end, function(a, b) return a <= b end, function() return true end, function() return false end, function(a, b) return a ~= b end } do
      compare("sort", "sort", { make = make.objects(list, less) })
    end
  end
end)

test("sort of many", function()
  local orders = {
    function(i) return i end, function(i, n) return n - i end, function() return 1 end, function(i) return i % 7 end, function(i) return i * 7919 % 10007 end,
    function(i, n) return math.min(i, n - i) end, function(i) return ("%d"):format(i * 7919 % 10007) end, function(i) return i % 2 * 1e6 + i end,
  }
  for _, n in ipairs { 99, 100, 101, 127, 128, 500, 3000 } do
    for _, order in ipairs(orders) do
      local list = {}
      for i = 1, n do list[i] = order(i, n) end
      compare("sort", "sort", { make = make.plain(list) })
    end
  end
  local list = {}
  for i = 1, 200000 do list[i] = i * 7919 % 200003 end
  guarded.sort(list)
  for i = 2, #list do ok(list[i - 1] <= list[i]) end
end)

test("long tables", function()
  local function list(n)
    local t = {}
    for i = 1, n do t[i] = i end
    return t
  end
  for _, n in ipairs { 15, 16, 17, 31, 32, 33, 100, 5000 } do
    local t = { make = make.plain(list(n)) }
    for _, p in ipairs { 1, 2, n - 17, n - 16, n - 15, n - 1, n, n + 1 } do
      compare("insert", "insert", t, p, "new")
      compare("remove", "remove", t, p)
      if original.move then
        compare("move", "move", t, p, n, 1)
        compare("move", "move", t, 1, n, p)
        compare("move", "move", t, 1, n, p, plain())
      end
    end
  end
  for _, n in ipairs { 65534, 65535, 65536, 65537, 200000 } do
    for _, p in ipairs { 1, 2, -1, 0 } do
      if old or p > 0 then
        local a, b = list(n), list(n)
        original.insert(a, p, "new")
        guarded.insert(b, p, "new")
        for i = -1, n + 2 do if a[i] ~= b[i] then error(("insert at %d of %d: %s instead of %s at %d"):format(p, n, tostring(b[i]), tostring(a[i]), i)) end end
      end
    end
  end
end)

-- LuaJIT moves what is long by a loop in Lua, where no metamethod can be met.
test("long tables with holes, and with metatables", function()
  local met = 0
  local function meet(t, k, v) met = met + 1 rawset(t, k, v) end
  local metatables = { {}, { __index = function() met = met + 1 end, __newindex = meet } }
  for n = 3000, 9000, 1500 do
    for _, metatable in ipairs { false, metatables[1], metatables[2] } do
      local function sparse()
        local t = {}
        for i = n, 1, -1 do t[i] = i % 7 ~= 0 and i or nil end
        t[n], t[-1], t.x = n, "minus", "x"
        return metatable and setmetatable(t, metatable) or t
      end
      for _, p in ipairs { 1, 2, 1000, 1300 } do
        local a, b = sparse(), sparse()
        met = 0
        original.insert(a, p, "new")
        local theirs = met
        met = 0
        guarded.insert(b, p, "new")
        equal(met, theirs)
        for k, v in pairs(a) do if rawget(b, k) ~= v then error(("%d of %d: %s"):format(p, n, tostring(k))) end end
        for k, v in pairs(b) do if rawget(a, k) ~= v then error(("%d of %d: %s"):format(p, n, tostring(k))) end end
      end
    end
  end
end)

test("positions that nothing has", function()
  if old then
    for _, p in ipairs { -100, -20, -1, 0, 5, 100 } do
      compare_all("insert", plain(1, 2, 3), p, "new")
      compare_all("remove", plain(1, 2, 3), p)
    end
  end
  compare_all("insert", { make = make.plain { [1] = 1, [2] = 2, [4] = 4, [8] = 8, [16] = 16, [32] = 32, [64] = 64, [128] = 128 } }, 1, "new")
  compare_all("remove", { make = make.plain { [1] = 1, [2] = 2, [4] = 4, [8] = 8, [16] = 16, [32] = 32, [64] = 64, [128] = 128 } }, 1)
end)

-- Random calls ------------------------------------------------------------------------------------------------------------------

local rounds = tonumber(os.getenv "GUARD_ROUNDS") or 20000
local seed = tonumber(os.getenv "GUARD_SEED") or 1

test("random calls", function()
  local ended, raised = 0, 0
  for i = 0, rounds - 1 do
    tables.seed(seed + i)
    for _ = 1, 5 do tables.random(10) end
    local fine, result = pcall(tables.try)
    if not fine then error(("GUARD_SEED=%d: %s"):format(seed + i, tostring(result)), 0) end
    if result[1] == false then raised = raised + 1 else ended = ended + 1 end
  end
  print(("%d random calls from seed %d on: %d with results, %d with errors"):format(rounds, seed, ended, raised))
  ok(rounds < 1000 or ended > rounds / 4 and raised > rounds / 50, "the calls are not what they should be")
end)

check.finish()
