-- leash.guard_stdlib: the guarded functions of `string` do the same as the originals, on every input. Long ones are in `guard_stdlib_long.lua`; that
-- they stop is in `guard_stdlib_stops.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/guard_stdlib.lua
--
-- Corners by hand, then random calls: GUARD_ROUNDS of them (20000), from GUARD_SEED on (1). A difference names its seed; GUARD_ROUNDS=1 with it repeats that
-- call alone.

local check = require "support.check"
local strings = require "support.strings"
local leash = require "leash"
local test, equal, ok, raises = check.test, check.equal, check.ok, check.raises
local compare, original, guarded = strings.compare, strings.original, strings.guarded
local unpack = table.unpack or unpack

-- Installing --------------------------------------------------------------------------------------------------------------------

test("five functions are replaced, and no other", function()
  local five = { find = true, match = true, gmatch = true, gsub = true, rep = true, gfind = original.gfind == original.gmatch }
  for name, f in pairs(original) do
    equal(guarded[name] ~= f, five[name] or false, name)
    equal(type(guarded[name]), "function")
  end
end)

test("methods are guarded", function()
  equal(("").find, guarded.find)
  equal(getmetatable("").__index.rep, guarded.rep)
end)

test("it returns the environment; a second time does nothing", function()
  equal(leash.guard_stdlib(), _G)
  equal(leash.guard_stdlib(nil), _G)
  local env = { string = string }
  equal(leash.guard_stdlib(env), env)
  for name in pairs(original) do equal(string[name], guarded[name], name) end
end)

test("an environment of one's own", function()
  local env = { string = { find = original.find, rep = print, upper = original.upper, search = original.find, x = 1 } }
  leash.guard_stdlib(env)
  local string = env.string
  ok(string.find ~= original.find and string.search ~= original.find)
  equal(string.find("abc", "b()"), 2)
  equal(string.rep, print) -- not the original
  equal(string.upper, original.upper)
  equal(string.match, nil) -- taken away: stays away
  equal(string.x, 1)
  local inherits = setmetatable({}, { __index = { string = { rep = original.rep } } })
  leash.guard_stdlib(inherits)
  ok(inherits.string.rep ~= original.rep)
end)

test("wrong arguments", function()
  raises("bad argument #1 to 'guard_stdlib' (table expected, got number)", function() leash.guard_stdlib(1) end)
  raises("bad argument #1 to 'guard_stdlib' (there is no table 'string' in it)", function() leash.guard_stdlib {} end)
  raises("bad argument #1 to 'guard_stdlib' (there is no table 'string' in it)", function() leash.guard_stdlib { string = 1 } end)
end)

-- LuaJIT: in front of two of them is a Lua function, unless the compiler is off.
local compiler = rawget(_G, "jit") and jit.status()
local in_front = compiler and { find = true, rep = true } or {}

test("they are C functions", function()
  for _, name in ipairs(strings.names) do
    local what = debug.getinfo(guarded[name], "S").what
    if in_front[name] then
      equal(what, "Lua")
      equal(guarded[name], (leash.guard_stdlib { string = { f = original[name] } }).string.f)
    else
      equal(what, "C")
      equal(pcall(string.dump, guarded[name]), false)
      equal(debug.getupvalue(guarded[name], 1), nil)
    end
  end
end)

if compiler then
  test("LuaJIT: nothing is in front where the compiler is off, or `type` is not LuaJIT's", function()
    jit.off()
    local env = leash.guard_stdlib { string = { find = original.find, rep = original.rep } }
    jit.on()
    equal(debug.getinfo(env.string.find, "S").what, "C")
    equal(debug.getinfo(env.string.rep, "S").what, "C")
    equal(env.string.find("abc", "b", 1, true), 2)
    equal(env.string.rep("ab", 3, ","), "ab,ab,ab")
  end)

  test("LuaJIT: the functions in front are compiled, and leave no frame behind in errors", function()
    local traces, util = 0, require "jit.util"
    local function count(what) if what == "stop" then traces = traces + 1 end end
    jit.flush()
    jit.attach(count, "trace")
    local stitched = false
    for i = 1, 300 do
      local s = "hello" .. i % 7
      if not (string.find(s, "lo", 1, true) == 4 and string.find(s, "lo") == 4 and #string.rep(s, 3) == 18) then error "wrong" end
    end
    jit.attach(count)
    ok(traces >= 1)
    for i = 1, 20 do
      local info = util.traceinfo(i)
      stitched = stitched or info ~= nil and info.linktype == "stitch"
    end
    equal(stitched, false)
    local trace = select(2, xpcall(function() local x = string.find("x") return x end, debug.traceback))
    equal(select(2, original.gsub(trace, "'find'", "")), 2, trace) -- in the message, and one frame
  end)
end

-- The same ----------------------------------------------------------------------------------------------------------------------

-- In all the ways of calling it.
local function all_forms(name, ...)
  for _, form in ipairs(strings.forms(name)) do
    if not original.find(form, "method") or type((...)) == "string" then compare(form, name, ...) end
  end
end

local function all_matchers(s, p, init)
  all_forms("find", s, p, init)
  all_forms("match", s, p, init)
  all_forms("gmatch", s, p, init)
  all_forms("gsub", s, p, "<%0>")
  all_forms("gsub", s, p, "<%1>")
  all_forms("gsub", s, p, {})
end

test("patterns", function()
  local patterns = {
    "", "a", "ab", "^a", "^", "$", "^$", "a$", "a$b", "^^a", "a^", "$a", ".", ".*", ".-", ".+", ".?", "a*", "a-", "a+", "a?", "a*$", "^a*", "(a*)", "(a*)b",
    "()", "()a()", "(()a)", "((a)(b))", "(a)%1", "(a*)%1", "()%1", "%1", "(a%1)", "%0", "(a", "a)", ")", "(", "(()", "())", "%", "a%", "[", "[a", "[^", "[^a",
    "[]", "[]]", "[^]", "[^]]", "[%", "[%]", "[%]]", "[%a", "[a-", "[a-]", "[a-z", "[a-z]", "[z-a]", "[a-%]", "[a-%%]", "[%a-z]", "[%-z]", "[-a]", "[a-b-c]", "[^-]",
    "[^%-]", "[.]", "[*]+", "[\0]", "[^\0]", "[%z]", "%b", "%ba", "%bab", "%baa", "%b()", "%b\0a", "%ba\0", "%b\0\0", "%f", "%fa", "%f[", "%f[a", "%f[a]", "%f[^a]",
    "%f[%z]", "%f[^%z]", "%f[\0]", "%f[%a]%a+", "%f[%A]", "%a", "%A", "%z", "%Z", "%g", "%G", "%g+", "%%", "%.", "%-", "%\0", "%aa*", "a%*", "*", "+a", "?", "-", "a**", "a*+", "a*?",
    "a--", "a?b?", "(a-)(b*)", "\0", "a\0", "\0a", "a\0b", "a\0*", "a\0+b", ".\0.", "%a\0", "\255", "[\128-\255]", "[\200-\100]", "^(.-)%s*$", "^%s*(.-)%s*$", "%d+%.?%d*",
    "(%w+)=(%w*)", "[^,]*", "[^,]+", "%s+", "(.)(.)", "%f[%w]%w+", "%1(a)", "(a)(b)%2%1", "((((((((((a))))))))))", "()()()", "^()", "()$", "a(", "a()", "a(b", "a(b)c)",
  }
  local subjects = {
    "", "a", "b", "aa", "ab", "ba", "aab", "aabb", "abab", " a b ", "a,b,,c", ",", "\0", "a\0", "a\0b", "\0a\0", "(a(b)c)", "((", "))", "x = 1, y=22", "THE (quick) fox",
    "\128\255", "12.5", "  trim  ", "a\nb\tc", "%d", "^a$", "[x]",
  }
  for _, p in ipairs(patterns) do
    for _, s in ipairs(subjects) do
      compare("find", "find", s, p)
      compare("match", "match", s, p)
      compare("gmatch", "gmatch", s, p)
      compare("gsub", "gsub", s, p, "<%0>")
      compare("gsub", "gsub", s, p, "<%1%%>")
    end
    all_matchers("aab,b a\0b", p)
    all_matchers("aab,b a\0b", p, 3)
  end
end)

test("all classes of all characters", function()
  local function classes()
    local every = {}
    for c = 0, 255 do every[c + 1] = string.char(c) end
    every = table.concat(every)
    for c = 0, 255 do
      local letter = string.char(c)
      for _, form in ipairs { "%%%s", "[%%%s]", "[^%%%s]", "%%%s+", "[%%%sx]*", "%s", "[%s]", "%%f[%%%s]", "[a-%s]", "[%s-z]" } do
        local p = original.gsub(form, "%%s", function() return letter end)
        p = original.gsub(p, "%%%%", "%%")
        compare("gsub", "gsub", every, p, "<%0>")
      end
    end
  end
  classes()
  for _, locale in ipairs { "C.UTF-8", "C.utf8", "en_US", "de_DE", "de_DE.ISO-8859-1", "tr_TR.ISO-8859-9", "ru_RU.KOI8-R" } do
    if os.setlocale(locale, "ctype") then
      classes()
      os.setlocale("C", "ctype")
    end
  end
end)

local EDGES = {
  0, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 100, -100, 2 ^ 31 - 1, 2 ^ 31, -2 ^ 31, -2 ^ 31 - 1, 2 ^ 32, 2 ^ 32 + 2, 2 ^ 53, -2 ^ 53, 2 ^ 62, -2 ^ 62, 2 ^ 63, -2 ^ 63, 1e19, -1e19, 1e300,
  1 / 0, -1 / 0, 0 / 0, 0.5, 1.5, 1.999, -0.5, -1.5, -0.0, "2", "-2", "0x2", " 3 ", "1.5", "x", "", true, false, {}, error, math.maxinteger or 0, math.mininteger or 0,
}

test("where to start", function()
  for i = 1, #EDGES do
    for _, s in ipairs { "", "abc", "aaa" } do
      all_forms("find", s, "a", EDGES[i])
      all_forms("find", s, "", EDGES[i])
      all_forms("find", s, "a", EDGES[i], true)
      all_forms("find", s, "()", EDGES[i])
      all_forms("match", s, "a*", EDGES[i])
      all_forms("match", s, "^()a?", EDGES[i])
      all_forms("gmatch", s, "()a*", EDGES[i])
      all_forms("gmatch", s, "^a", EDGES[i])
    end
  end
end)

test("how many replacements", function()
  for i = 1, #EDGES do
    all_forms("gsub", "aaaa", "a", "x", EDGES[i])
    all_forms("gsub", "abc", "", "-", EDGES[i])
    all_forms("gsub", "abc", "^a", "-", EDGES[i])
    all_forms("gsub", "abc", "x", "-", EDGES[i])
  end
end)

test("replacements", function()
  local function nothing() end
  local replacements = {
    "", "x", "%0", "%1", "%2", "%3", "%9", "%%", "%", "%x", "a%", "%%%", "%%0", "x%0y%1z", "%a", "%\0", "\0", "%0\0%1", "% ", "%10", 0, 12, -1.5, 1e100, {}, { a = 1 }, { a = true },
    { a = {} }, { a = "%0" }, { ["a"] = false }, nothing, true, false, io.stdout, coroutine.create(nothing), setmetatable({}, { __index = function(_, k) return k .. k end }),
    setmetatable({}, { __call = nothing }), setmetatable({}, { __tostring = tostring }), function() end, function(...) return select("#", ...) end, function(a, b) return b end,
    function() return {} end, function() return true end, function() return nothing end, function() error("mine", 0) end, function() error {} end, string.upper,
  }
  for _, p in ipairs { "a", "(a)", "()", "(a)(b)", "()a()", "a*", "%w+", "x", "", "(a", "(.)(.)(.)" } do
    for i = 1, #replacements do
      compare("protected", "gsub", "abcab", p, replacements[i])
      compare("gsub", "gsub", "abcab", p, replacements[i])
    end
    all_forms("gsub", "abcab", p)
    all_forms("gsub", "abcab", p, nil, 1)
    all_forms("gsub", "abcab", p, nil, "x")
  end
end)

test("wrong arguments, and too few", function()
  local function nothing() end
  local values = { nil, 1, "a", true, {}, nothing, 1.5, io.stdout, setmetatable({}, { __tostring = function() return "a" end, __name = "Mine" }) }
  for _, name in ipairs(strings.names) do
    for _, form in ipairs { "protected", "localf", name } do
      compare(form, name)
      for i = 1, 9 do
        compare(form, name, values[i])
        for j = 1, 9 do
          compare(form, name, values[i], values[j])
          for k = 1, 9 do compare(form, name, values[i], values[j], values[k]) end
        end
      end
    end
    local method = "method_" .. name
    compare(method, name, "a")
    for i = 1, 9 do
      compare(method, name, "a", values[i])
      for j = 1, 9 do compare(method, name, "a", values[i], values[j]) end
    end
  end
  -- A string where another is the function's own: `s.find(...)` with a table for s.
  for _, f in ipairs { original, guarded } do
    local object = setmetatable({}, { __index = { find = f.find, rep = f.rep } })
    f.messages = { select(2, pcall(function() return object:find("x") end)), select(2, pcall(function() local r = object:rep("x") return r end)) }
  end
  equal(guarded.messages[1], original.messages[1])
  equal(guarded.messages[2], original.messages[2])
end)

test("numbers are strings", function()
  for _, n in ipairs { 0, -0.0, 12, -3, 1.5, 1e15, 1e100, 2 ^ 53, 1 / 0, math.maxinteger or 1 } do
    compare("find", "find", n, 1)
    compare("match", "match", n, "%d+")
    compare("gsub", "gsub", n, "%d", n)
    compare("gsub", "gsub", n, "x", n)
    compare("rep", "rep", n, 3)
    compare("rep", "rep", n, 1)
    compare("rep", "rep", n, 2, n)
    compare("gmatch", "gmatch", n, "%d")
  end
end)

test("many captures", function()
  for n = 28, 36 do
    for _, one in ipairs { "()", "(a)", "(a?)", "(" } do
      all_matchers(("a"):rep(40), one:rep(n))
    end
    all_matchers(("a"):rep(40), ("("):rep(n) .. "a" .. (")"):rep(n))
  end
end)

-- (`a+` so many times takes the originals for ever.)
test("deep patterns", function()
  for _, one in ipairs { "a?", "a*", "a-", "x?", "x*", "x-", "(a)", "(x*)", "()", "(", "%f[a]", "[ax]?" } do
    for _, n in ipairs { 20, 60, 99, 100, 101, 150, 190, 196, 197, 198, 199, 200, 201, 202, 203, 204, 210, 300 } do
      for _, s in ipairs { "", "b", ("a"):rep(n), "xb" } do
        compare("find", "find", s, "^" .. one:rep(n))
        compare("match", "match", s, "^" .. one:rep(n) .. "$")
      end
      compare("gmatch", "gmatch", "aab", one:rep(n))
      compare("gsub", "gsub", "xx", one:rep(n), "y")
    end
  end
end)

-- The iterators of some releases forget how deep they were when an error ended them, and some do not.
-- What repeats, before a literal: places where that is not are passed over, but not where to try one is an error.
test("a literal behind what repeats, at every depth", function()
  for _, depth in ipairs { 0, 1, 100, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 203 } do
    for _, tail in ipairs { "a*b", "a-b", "(a*)b", "(.-)b", "a*%.", ".-b+", "a*b?c", "a*b-c", ".*$", "a*$a", "(a*))b", "[a]*a", ".*\0b" } do
      for _, subject in ipairs { "", "aa", "aab", "aaba", "aa.", "aa\0b" } do
        compare("match", "match", subject, "^" .. ("x*"):rep(depth) .. tail)
      end
    end
  end
end)

test("an iterator that has failed is called again", function()
  for _, case in ipairs { { "aaa", "a[" }, { "aaa", "a?a?[" }, { "b", ("a*"):rep(150) .. "[" }, { "aaa", ("a?"):rep(250) }, { "aaa", "(()a" }, { "a", "[" }, { "a", "([a" }, { "a", "%" }, { "a", "(%" }, { "a", "%ba" }, { ("a"):rep(30), ("(a)"):rep(10) .. "%" } } do
    local said = {}
    for i, set in ipairs { original, guarded } do
      local iterator, list = set.gmatch(case[1], case[2]), {}
      for j = 1, 450 do
        local _, message = pcall(iterator)
        list[j] = message
      end
      said[i] = list
    end
    for j = 1, 450 do equal(said[2][j], said[1][j], case[2] .. " " .. j) end
  end
end)

test("iterators are independent of each other, and keep their strings", function()
  local function run(set)
    local list = {}
    local a, b = set.gmatch("a b c", "%a"), set.gmatch("1 2 3", "%d")
    for _ = 1, 4 do
      collectgarbage()
      local x, y = a(), b()
      list[#list + 1] = tostring(x) .. tostring(y)
    end
    for k, v in set.gmatch("k1=v1, k2=v2", "(%w+)=(%w+)") do list[#list + 1] = k .. v end
    local co = coroutine.wrap(function() for w in set.gmatch("x y z", "%w") do coroutine.yield(w) end end)
    for _ = 1, 3 do list[#list + 1] = co() end
    return table.concat(list, " ")
  end
  equal(run(guarded), run(original))
end)

-- What is asked for so often is never made: the originals take their time, and memory.
local function is_quick(n)
  n = tonumber(n) or 0
  if check.engine == "luajit" then return true end -- not enough memory
  if check.engine == "lua51" or check.engine == "lua52" then
    n = n % 2 ^ 32 -- an `int`
    return not (n > 1e6 and n < 2 ^ 31)
  end
  return not (n > 1e6 and n <= (check.engine == "lua55" and 2 ^ 60 or 2 ^ 31))
end

test("repetitions", function()
  for i = 1, #EDGES do
    if is_quick(EDGES[i]) then
      for _, s in ipairs { "a", "abc" } do
        all_forms("rep", s, EDGES[i])
        all_forms("rep", s, EDGES[i], "")
        all_forms("rep", s, EDGES[i], ", ")
      end
    end
  end
  for _, length in ipairs { 1, 2, 3, 7, 255, 1000, 16383, 16384, 16385, 70000, 262144, 300000 } do
    local s = {}
    for i = 1, length do s[i] = string.char(i * 7 % 251) end
    s = table.concat(s)
    for _, n in ipairs { 0, 1, 2, 3, 5, 17, 100 } do
      if length * n < 3e6 then
        compare("rep", "rep", s, n)
        compare("rep", "rep", s, n, ";")
        compare("rep", "rep", s, n, s)
        compare("rep", "rep", "", n, s)
      end
    end
  end
  for _, n in ipairs { 1000, 65536, 262143, 262144, 262145, 1000000 } do
    compare("rep", "rep", "x", n)
    compare("rep", "rep", "xy", n)
    compare("rep", "rep", "", n, "x")
    compare("rep", "rep", "", n)
  end
end)

test("results that are too large", function()
  if check.engine == "lua51" then return end -- there it is made until there is no memory
  local cases = check.engine == "lua52" and {} or check.engine == "lua55" and { { "xy", 2 ^ 62 } } or {
    { ("x"):rep(1000), 2 ^ 31 - 1 }, { "x", 2 ^ 31 - 1, ("y"):rep(1000) }, { ("xy"):rep(5000), 1e9, "abc" }, { ("x"):rep(2 ^ 20), 2 ^ 30 },
  }
  for _, case in ipairs(cases) do equal(compare("rep", "rep", unpack(case))[1], false) end
  if math.maxinteger then
    for _, n in ipairs { math.maxinteger, math.tointeger(2 ^ 62), math.tointeger(2 ^ 62) - 1 } do
      compare("rep", "rep", "abc", n)
      compare("rep", "rep", "", n, "abc")
      compare("rep", "rep", "abc", n, "abc")
    end
  end
end)

test("a function that replaces may do as it likes", function()
  local function run(set)
    local list = {}
    local function note(...)
      local all = { ... }
      for i = 1, select("#", ...) do all[i] = tostring(all[i]) end
      list[#list + 1] = table.concat(all, ",")
    end
    note(set.gsub("abc", "%w", function(c) note(c) collectgarbage() return (set.gsub(c .. c, ".", "%0%0")) end))
    note(pcall(set.gsub, "abc", "%w", function(c) if c == "b" then error("stop", 0) end return c:upper() end))
    note(select("#", set.gsub("abc", "%w", string.byte)))
    note(tostring(select(2, pcall(coroutine.wrap(function() set.gsub("abc", ".", coroutine.yield) end)))))
    local t = setmetatable({}, { __index = function(t, k) note("index", k) rawset(t, k, k:upper()) return "?" end })
    note(set.gsub("abab", "%w", t))
    return table.concat(list, ";")
  end
  equal(run(guarded), run(original))
end)

-- Random calls ------------------------------------------------------------------------------------------------------------------

local rounds = tonumber(os.getenv "GUARD_ROUNDS") or 20000
local seed = tonumber(os.getenv "GUARD_SEED") or 1

test("random calls", function()
  local ended, raised = 0, 0
  for i = 0, rounds - 1 do
    strings.seed(seed + i)
    for _ = 1, 5 do strings.random(10) end
    local fine, result = pcall(strings.try)
    if not fine then error(("GUARD_SEED=%d: %s"):format(seed + i, tostring(result)), 0) end
    if result[1] == false then raised = raised + 1 else ended = ended + 1 end
  end
  print(("%d random calls from seed %d on: %d with results, %d with errors"):format(rounds, seed, ended, raised))
  ok(rounds < 1000 or ended > rounds / 4 and raised > rounds / 50, "the calls are not what they should be")
end)

check.finish()
