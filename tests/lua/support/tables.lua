-- What the tests of the guarded functions of `table` share: the originals, the guarded functions, a comparison of the two, and random calls.
--
-- Both are called in the same ways from the same places. Functions of `table` change what they are given, so each call gets arguments of its own, and what is compared is:
-- results, the tables afterwards, and all that metamethods were asked on the way.

local unpack = table.unpack or unpack

local original = {}
for name, f in pairs(table) do original[name] = f end
local leash = require "leash"
leash.guard_stdlib()
local guarded = {}
for name in pairs(original) do guarded[name] = table[name] end

local NAMES = { "insert", "remove", "concat", "sort", original.move and "move" }
local tables = { names = NAMES, original = original, guarded = guarded }

local function install(set)
  for i = 1, #NAMES do table[NAMES[i]] = set[NAMES[i]] end
end

-- Random numbers ----------------------------------------------------------------------------------------------------------------

-- Of our own, so that all engines try the same: Park and Miller's.
local state = 1

function tables.seed(n)
  state = n % 2147483646 + 1
end

local function random(n)
  state = state * 16807 % 2147483647
  return state % n + 1
end
tables.random = random

local function pick(list)
  return list[random(#list)]
end

-- Tables of all kinds -----------------------------------------------------------------------------------------------------------

local function kind(value) return math.type and math.type(value) or type(value) end

local function said(value)
  return kind(value) .. " " .. (type(value) == "table" and "" or tostring(value))
end

-- Made anew for each call: `make(log)` returns the value and the table in which its elements are.
local makers = {}

local function copy(list)
  local t = {}
  for k, v in pairs(list) do t[k] = v end
  return t
end

function makers.plain(list)
  return function()
    local t = copy(list)
    return t, t
  end
end

-- With a length of its own.
function makers.long(list, length)
  return function(log)
    local t = copy(list)
    return setmetatable(t, { __len = function() log[#log + 1] = "len" return length end }), t
  end
end

-- All goes through metamethods, which note it.
function makers.proxy(list, length, from)
  return function(log)
    local inner = copy(list)
    local methods = {
      __index = function(_, k) log[#log + 1] = "get " .. said(k) return inner[k] end,
      __newindex = function(_, k, v) log[#log + 1] = "set " .. said(k) .. " " .. said(v) inner[k] = v end,
      __len = function() log[#log + 1] = "len" return length or #inner end,
      __eq = function() log[#log + 1] = "eq" return true end,
    }
    return setmetatable(from and from() or {}, methods), inner
  end
end

-- Some elements are in another table.
function makers.inherits(list, more)
  return function()
    local t = copy(list)
    return setmetatable(t, { __index = more, __newindex = copy(more) }), t
  end
end

-- Elements that are compared by a metamethod, in this order.
function makers.objects(list, less)
  return function(log)
    local t, methods = {}, {}
    methods.__lt = function(a, b)
      log[#log + 1] = a.name .. "<" .. b.name
      if #log > 5000 then error("enough", 0) end
      return less(a.name, b.name)
    end
    for i, name in ipairs(list) do t[i] = setmetatable({ name = name }, methods) end
    return t, t
  end
end

tables.make = makers

-- Calling -----------------------------------------------------------------------------------------------------------------------

local function pack(...)
  return { n = select("#", ...), ... }
end

local function plainly(f, ...) return f(...) end
local FORMS = {
  protected = function(name, ...) return pcall(table[name], ...) end,
  localf = function(name, ...) return pcall(plainly, table[name], ...) end,
  insert = function(_, ...) return pcall(function(...) table.insert(...) return "done" end, ...) end,
  remove = function(_, ...) return pcall(function(...) local r = pack(table.remove(...)) return unpack(r, 1, r.n) end, ...) end,
  concat = function(_, ...) return pcall(function(...) local r = table.concat(...) return r end, ...) end,
  sort = function(_, ...) return pcall(function(...) table.sort(...) return "done" end, ...) end,
  move = function(_, ...) return pcall(function(...) local r = table.move(...) return r end, ...) end,
  method_insert = function(_, ...) return pcall(function(t, ...) local r = { t:insert(...) } return #r end, ...) end,
  method_remove = function(_, ...) return pcall(function(t, ...) local r = t:remove(...) return r end, ...) end,
  method_concat = function(_, ...) return pcall(function(t, ...) local r = t:concat(...) return r end, ...) end,
  method_sort = function(_, ...) return pcall(function(t, ...) local r = { t:sort(...) } return #r end, ...) end,
  method_move = function(_, ...) return pcall(function(t, ...) local r = t:move(...) return r end, ...) end,
}

-- The ways of calling a function.
function tables.forms(name)
  return { "protected", "localf", name }
end

-- What is in a table: `key=value`, sorted.
local function contents(t, names)
  local list = {}
  for k, v in next, t do
    list[#list + 1] = tostring(k) .. " " .. kind(k) .. " = " .. (names[v] or type(v) == "table" and tostring(rawget(v, "name")) or said(v))
  end
  original.sort(list)
  return original.concat(list, ", ")
end

-- Calls a function, and tells what came of it.
local function call(set, form, name, args)
  local log, made, inner, names = {}, { n = args.n }, {}, {}
  for i = 1, args.n do
    local value = args[i]
    if type(value) == "table" and rawget(value, "make") then
      value, inner[i] = value.make(log)
    end
    made[i] = value
    if type(value) == "table" then names[value] = names[value] or "argument " .. i end
  end
  install(set)
  local results = pack(FORMS[form](name, unpack(made, 1, made.n)))
  install(guarded)
  local told = {}
  for i = 1, results.n do
    local value = results[i]
    told[i] = names[value] or type(value) == "table" and tostring(rawget(value, "name")) or said(value)
  end
  for i = 1, made.n do
    if inner[i] then told[#told + 1] = "{" .. contents(inner[i], names) .. "}" end
  end
  if #log > 0 then told[#told + 1] = original.concat(log, "; ") end
  return original.concat(told, " | "), results
end

local function show(args)
  local shown = {}
  for i = 1, args.n do
    local value = args[i]
    shown[i] = type(value) == "table" and value.make and "{" .. contents((select(2, value.make {})), {}) .. "}" or said(value)
  end
  return original.concat(shown, ", ")
end

-- Calls both, and fails if they differ. An argument { make = f } is made anew by f for each call. Returns the results of the guarded one.
function tables.compare_with(form, name, args)
  local theirs = call(original, form, name, args)
  local ours, results = call(guarded, form, name, args)
  if theirs ~= ours then error(("%s, called as %s: %s\n  original %.2000s\n  guarded  %.2000s"):format(name, form, show(args), theirs, ours), 0) end
  return results
end

function tables.compare(form, name, ...)
  return tables.compare_with(form, name, pack(...))
end

-- In all the ways of calling it.
function tables.compare_all(name, ...)
  for _, form in ipairs(tables.forms(name)) do tables.compare(form, name, ...) end
end

-- Random calls ------------------------------------------------------------------------------------------------------------------

local VALUES = { 1, 2, 3, -1, 0.5, 1e100, "a", "b", "", "longer text", "10", 7, 8, 9 }
local ODD = { true, false, {}, 0 / 0, -0.0 }
local POSITIONS = {
  0, 0.5, 1.5, 2 ^ 31, -2 ^ 31, 2 ^ 31 - 1, 2 ^ 32 + 1, 2 ^ 53, -2 ^ 53, 2 ^ 63, -2 ^ 63, 1e100, 0 / 0, 1 / 0, -1 / 0, "1", "2", "x", "", true, {}, math.maxinteger or 1, math.mininteger or 1,
}
local LENGTHS = { 0, 1, 2, 3, 5, 8, -1, -5, 1.5, "3", "x", false, 2 ^ 53, math.mininteger or 0, math.maxinteger or 2 ^ 31 - 1, 2 ^ 31 - 1 }

local function values(n)
  local list, sort = {}, random(4)
  for i = 1, n do
    if sort == 1 then list[i] = random(20)
    elseif sort == 2 then list[i] = ("x"):rep(random(4)) .. random(9)
    else list[i] = pick(VALUES) end
    if random(60) == 1 then list[i] = pick(ODD) end
    if random(40) == 1 then list[i] = nil end
  end
  return list
end

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = random(n) end
  return list
end

local ORDERS = {
  function(a, b) return a < b end,
  function(a, b) return a > b end,
  function(a, b) return a <= b end,
  function() return true end,
  function() return false end,
  function(a, b) return #a < #b end,
}

-- A table; and how long it says it is, if that is not so.
local function any_table(n)
  local k, length = random(14), pick(LENGTHS)
  if k == 1 then return { make = makers.long(values(n), length) }, length end
  if k == 2 then return { make = makers.proxy(values(n)) } end
  if k == 3 then return { make = makers.proxy(values(n), length) }, length end
  if k == 4 then return { make = makers.inherits(values(n), values(n + 5)) } end
  return { make = makers.plain(values(n)) }
end

local tries, nowhere = {}, { 0, -1, "x" }

-- One for which the originals do not take for ever, which they do from the beginning to the end of what is not there; 5.1 and LuaJIT from -2^31.
local function position(n, length)
  if length and tonumber(length) and _VERSION ~= "Lua 5.1" then
    return random(2) == 1 and pick(nowhere) or tonumber(length) + random(6) - (length == math.maxinteger and 6 or 4)
  end
  local p = random(25) == 1 and pick(POSITIONS) or random(n + 6) - 3
  local q = tonumber(p) or 0
  return not math.maxinteger and not (q > -1000 and q < 1000) and 1000 or p
end

function tries.insert(form)
  local n = random(40) - 1
  local t, length = any_table(n)
  local k = random(30)
  if k == 1 then return tables.compare(form, "insert", t, 1, "new", nil) end
  if k == 2 then return tables.compare(form, "insert", t) end
  if k <= 8 then return tables.compare(form, "insert", t, pick(VALUES)) end
  return tables.compare(form, "insert", t, position(n, length), k > 10 and "new" or nil)
end

function tries.remove(form)
  local n = random(40) - 1
  local t, length = any_table(n)
  if random(5) == 1 then return tables.compare(form, "remove", t) end
  return tables.compare(form, "remove", t, position(n, length))
end

function tries.concat(form)
  local n = random(40) - 1
  local t = any_table(n)
  local separator = pick { nil, "", ",", ", ", "a long separator", 1 }
  if random(60) == 1 then separator = pick(ODD) end
  local k = random(3)
  if k == 1 then return tables.compare(form, "concat", t, separator) end
  if k == 2 then return tables.compare(form, "concat", t, separator, position(n)) end
  return tables.compare(form, "concat", t, separator, position(n), position(n))
end

function tries.sort(form)
  local n = random(90)
  local k = random(6)
  local less = random(4) == 1 and pick(ORDERS) or nil
  if k == 1 then
    local list = {}
    for i = 1, n do list[i] = ("%03d"):format(random(n)) end
    return tables.compare(form, "sort", { make = makers.objects(list, pick(ORDERS)) }, less)
  end
  if k == 2 then return tables.compare(form, "sort", { make = makers.proxy(numbers(n)) }, less) end
  if k == 3 then return tables.compare(form, "sort", (any_table(random(20)))) end
  if k == 4 then n = n * 20 end
  return tables.compare(form, "sort", { make = makers.plain(numbers(n)) })
end

function tries.move(form)
  local n = random(40)
  local source, from, to = (any_table(n)), position(n), position(n)
  local last = position(n)
  local function is_small(p) return type(p) == "number" and p > -1e6 and p < 1e6 end
  if not is_small(from) or not is_small(last) then
    -- What is too much is refused, or else takes for ever.
    last = pick { "x", from, from }
    if random(2) == 1 then to = pick(POSITIONS) end
  end
  if random(3) == 1 then return tables.compare(form, "move", source, from, last, to) end
  return tables.compare(form, "move", source, from, last, to, (any_table(n)))
end

-- One random call, compared.
function tables.try()
  local name = pick(NAMES)
  return tries[name](pick(tables.forms(name)))
end

return tables
