-- What the tests of guard_stdlib share: the originals, the guarded functions, a comparison of the two, and random calls.
--
-- Both are called in the same ways from the same places, as `string.find`, as a local function and as a method, each time with the one or the other in the
-- table `string`: error messages name the function as it was called, and 5.2 and later look for it in `package.loaded`.

local unpack = table.unpack or unpack
local NAMES = { "find", "match", "gmatch", "gsub", "rep" }

local original = {}
for name, f in pairs(string) do original[name] = f end
local leash = require "leash"
leash.guard_stdlib()
local guarded = {}
for name in pairs(original) do guarded[name] = string[name] end

local strings = { names = NAMES, original = original, guarded = guarded }

local function install(set)
  for i = 1, #NAMES do string[NAMES[i]] = set[NAMES[i]] end
end

-- Random numbers ----------------------------------------------------------------------------------------------------------------

-- Of our own, so that all engines try the same: Park and Miller's.
local state = 1

function strings.seed(n)
  state = n % 2147483646 + 1
end

local function random(n)
  state = state * 16807 % 2147483647
  return state % n + 1
end
strings.random = random

local function pick(list)
  return list[random(#list)]
end

-- Calling -----------------------------------------------------------------------------------------------------------------------

local function pack(...)
  return { n = select("#", ...), ... }
end

-- What iterators return: all of it, and what they say when they are called again.
local ROUNDS = 60

local function drain(ok, iterator, ...)
  if not ok then return pack(ok, iterator, ...) end
  local all = { n = 1, type(iterator) }
  local extra = 0
  for _ = 1, ROUNDS do
    local results = pack(pcall(iterator))
    all.n = all.n + 1
    all[all.n] = results
    if results[2] == nil or not results[1] then
      extra = extra + 1
      if extra == 3 then break end
    end
  end
  return all
end

local function plainly(f, ...) return f(...) end
local FORMS = {
  protected = function(name, ...) return pcall(string[name], ...) end,
  localf = function(name, ...) return pcall(plainly, string[name], ...) end,
  find = function(_, ...) return pcall(function(...) return string.find(...) end, ...) end,
  match = function(_, ...) return pcall(function(...) local r = pack(string.match(...)) return unpack(r, 1, r.n) end, ...) end,
  gmatch = function(_, ...) return pcall(function(...) local r = string.gmatch(...) return r end, ...) end,
  gsub = function(_, ...) return pcall(function(...) local r, n = string.gsub(...) return r, n end, ...) end,
  rep = function(_, ...) return pcall(function(...) local r = string.rep(...) return r end, ...) end,
  method_find = function(_, ...) return pcall(function(s, ...) local a, b, c, d = s:find(...) return a, b, c, d end, ...) end,
  method_match = function(_, ...) return pcall(function(s, ...) local a, b, c, d = s:match(...) return a, b, c, d end, ...) end,
  method_gmatch = function(_, ...) return pcall(function(s, ...) local r = s:gmatch(...) return r end, ...) end,
  method_gsub = function(_, ...) return pcall(function(s, ...) local r, n = s:gsub(...) return r, n end, ...) end,
  method_rep = function(_, ...) return pcall(function(s, ...) local r = s:rep(...) return r end, ...) end,
}

-- The ways of calling a function.
function strings.forms(name)
  return { "protected", "localf", name, "method_" .. name }
end

-- Calls a function. Arguments that are { make = f } are made anew by f for each call.
local function call(set, form, name, args)
  local made = { n = args.n }
  for i = 1, args.n do
    local value = args[i]
    made[i] = type(value) == "table" and rawget(value, "make") and value.make() or value
  end
  install(set)
  local results
  if name == "gmatch" then
    results = drain(FORMS[form](name, unpack(made, 1, made.n)))
  else
    results = pack(FORMS[form](name, unpack(made, 1, made.n)))
  end
  install(guarded)
  return results, made
end

local kind = math.type or type

local function same(a, b)
  if type(a) == "table" and type(b) == "table" then
    if a.n ~= b.n then return false end
    for i = 1, a.n or 0 do
      if not same(a[i], b[i]) then return false end
    end
    return true
  end
  return a == b and kind(a) == kind(b)
end

local function show(value)
  if type(value) == "string" then
    if #value > 200 then value = value:sub(1, 200) .. "..." end
    return (original.gsub(("%q"):format(value), "[%c\128-\255]", function(c) return ("\\%d"):format(c:byte()) end))
  elseif type(value) == "table" and value.n then
    local shown = {}
    for i = 1, value.n do shown[i] = show(value[i]) end
    return "{" .. table.concat(shown, ", ") .. "}"
  end
  return tostring(value)
end

-- Calls both, and fails if they differ.
function strings.compare(form, name, ...)
  local args = pack(...)
  local theirs, their_args = call(original, form, name, args)
  local ours, our_args = call(guarded, form, name, args)
  local logs = their_args[3] and our_args[3] and strings.log
  if not same(theirs, ours) or logs and not same(logs(their_args[3]), logs(our_args[3])) then
    error(("%s, called as %s%s\n  original %s\n  guarded  %s"):format(name, form, show(args), show(theirs), show(ours)), 0)
  end
  return theirs
end

-- Random calls ------------------------------------------------------------------------------------------------------------------

local ALPHABETS = { "ab", "ab", "aab", "abc,", "a\0", "ab (x)=[]", "a1 Z_.-%", "aA\0\127\128\255 \n" }

local function text(alphabet, longest)
  local s = {}
  for i = 1, random(longest + 1) - 1 do
    local k = random(#alphabet)
    s[i] = alphabet:sub(k, k)
  end
  return table.concat(s)
end

local SETS = { "[ab]", "[^a]", "[a-c]", "[%a_]", "[^%s,]", "[]]", "[^]]", "[a-]", "[%]x]", "[^%z]", "[\0-b]", "[%w%-]", "[a-%a]", "[--/]", "[^^]", "[%d-z]" }
local CLASSES = "acdglpsuwxzACDGLPSUWXZ.%b1(b)"
local MARKS = { "", "", "", "", "*", "+", "-", "?" }
local SPECIAL = { "()", "%b()", "%bxy", "%ba", "%b", "%f[%w]", "%f[^%w]", "%f[%z]", "%f", "%1", "%2", "%0", "^", "$", "%", "[", "[a", "[^", "[%", "%f[", "(", ")", "\0", "-", "*" }

local function item(alphabet)
  local k = random(12)
  if k <= 5 then
    local i = random(#alphabet)
    local c = alphabet:sub(i, i)
    return original.find(c, "%w") and c or "%" .. c
  elseif k <= 7 then
    return "."
  elseif k <= 9 then
    local i = random(#CLASSES)
    return "%" .. CLASSES:sub(i, i)
  end
  return pick(SETS)
end

local function pattern(alphabet)
  if random(25) == 1 then return text(alphabet .. "%[]()^$*+-?.", 8) end
  local p, open = {}, 0
  if random(6) == 1 then p[1] = "^" end
  for _ = 1, random(5) do
    local k = random(14)
    if k == 1 then
      p[#p + 1] = "("
      open = open + 1
    elseif k == 2 and open > 0 then
      p[#p + 1] = ")"
      open = open - 1
    elseif k == 3 then
      p[#p + 1] = pick(SPECIAL)
    elseif k == 4 then
      p[#p + 1] = "(" .. item(alphabet) .. pick(MARKS) .. ")"
      if random(3) == 1 then p[#p + 1] = "%1" end
    else
      p[#p + 1] = item(alphabet) .. pick(MARKS)
    end
  end
  if random(10) > 1 then p[#p + 1] = (")"):rep(open) end
  if random(6) == 1 then p[#p + 1] = "$" end
  return table.concat(p)
end

local ODD = { 0, -0.5, 1.5, 1e10, -1e10, 1e100, -1e100, 0 / 0, 1 / 0, -1 / 0, "1", "-2", "x", true, false, {}, error, 2 ^ 31, -2 ^ 31, 2 ^ 31 - 1, 2 ^ 32 + 1, 2 ^ 53, 2 ^ 63 }

local function whole(around)
  local k = random(40)
  if k == 1 then return pick(ODD) end
  if k <= 8 then return nil end
  return random(2 * around + 7) - around - 4
end

local VALUES = { "x", "", "longer than what it replaces", 1, 2.5, nil, false, "%0", true, {} }

-- A function that answers in turn, and notes what it was called with.
local function answers(from)
  return { make = function()
    local i, log = from, { n = 0 }
    local f = setmetatable({}, { __call = function() end })
    f = function(...)
      log.n = log.n + 1
      log[log.n] = pack(...)
      i = i % (from < 90 and 7 or 10) + 1
      return VALUES[i]
    end
    strings.logs[f] = log
    return f
  end }
end

strings.logs = setmetatable({}, { __mode = "k" })
function strings.log(f)
  return strings.logs[f]
end

local function replacement(alphabet)
  local k = random(10)
  if k <= 3 then return text(alphabet .. "%", 6) end
  if k <= 6 then return text("%0%1%%x", 6) end
  if k == 7 then return { a = "A", b = false, ab = 12, aa = "", [1] = "one", [2] = true, [""] = "empty" } end
  if k == 8 then return setmetatable({}, { __index = function(_, key) return key ~= "b" and key end }) end
  if k == 9 and random(5) == 1 then return pick(ODD) end
  if k == 9 then return random(100) end
  return answers(random(100))
end

-- One random call, compared.
function strings.try()
  local alphabet = pick(ALPHABETS)
  local name = pick(NAMES)
  local form = pick(strings.forms(name))
  local s = text(alphabet, random(4) == 1 and 40 or 14)
  if random(60) == 1 and form ~= "method_" .. name then s = pick(ODD) end
  if name == "rep" then
    local n = whole(20)
    -- What is long is for the corners: the originals take their time.
    if type(n) == "number" and not (n < 2000) then n = 100 end
    local separator = random(3) == 1 and text(alphabet, 4) or nil
    if random(60) == 1 then separator = pick(ODD) end
    return strings.compare(form, name, s, n, separator)
  end
  local p = pattern(alphabet)
  if random(12) == 1 then p = text(alphabet, 3) end
  -- LuaJIT: where a pattern is surely quick, `gmatch` is the original. Of so many `?` nobody can be sure.
  if name == "gmatch" and random(2) == 1 then p = p .. ("\127?"):rep(30) end
  if random(100) == 1 then p = pick(ODD) end
  if name == "gsub" then
    return strings.compare(form, name, s, p, replacement(alphabet), random(3) == 1 and whole(8) or nil)
  elseif name == "find" then
    return strings.compare(form, name, s, p, whole(#tostring(s)), random(5) == 1 and pick { true, false, 1, "x" } or nil)
  end
  return strings.compare(form, name, s, p, whole(#tostring(s)))
end

return strings
