-- leash.guard_stdlib: the guarded `load` and `loadstring` do the same as the originals, on every input, and stop.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/guard_stdlib_load.lua
--
-- Corners by hand, then random texts: LOAD_ROUNDS of them (3000), from LOAD_SEED on (1). A difference names its seed.

local check = require "support.check"
local test, equal, ok = check.test, check.equal, check.ok
local unpack = table.unpack or unpack

local names = {}
for _, name in ipairs { "load", "loadstring" } do
  if rawget(_G, name) then names[#names + 1] = name end
end
local original, guarded = {}, {}
for _, name in ipairs(names) do original[name] = _G[name] end
local leash = require "leash"
leash.guard_stdlib()
for _, name in ipairs(names) do guarded[name] = _G[name] end

local function pack(...) return { n = select("#", ...), ... } end

-- What comes of a load: its values, and what the function does if it is one.
local function outcome(f, args)
  local said = pack(pcall(f, unpack(args, 1, args.n)))
  if type(said[2]) == "function" then
    local chunk = said[2]
    local info = debug.getinfo(chunk, "Su")
    said[2] = table.concat({ "function", info.source, info.what, info.linedefined, info.nups, info.nparams or 0 }, "|")
    -- It says what it is: texts here end. What they change is their own.
    if setfenv and (check.engine == "lua51" or not args[4]) then setfenv(chunk, setmetatable({}, { __index = _G })) end
    local results = pack(pcall(chunk, "a", "b"))
    for i = 1, results.n do
      local value = results[i] -- tables and functions are made by each anew
      said[said.n + i] = (type(value) == "table" or type(value) == "function") and type(value) or value
    end
    said.n = said.n + results.n
    if type(string.dump) == "function" then
      local fine, code = pcall(string.dump, chunk)
      said.n = said.n + 1
      said[said.n] = fine and code or false
    end
  end
  return said
end

local function shown(value) return type(value) == "string" and ("%q"):format(value):sub(1, 200) or tostring(value) end

-- `make` makes the arguments, for each call anew: readers are used up.
local function same(what, make)
  for _, name in ipairs(names) do
    local said = {}
    for i, all in ipairs { original, guarded } do
      for other, f in pairs(all) do _G[other] = f end -- messages look there for names
      said[i] = outcome(all[name], make())
    end
    local expected, got = said[1], said[2]
    equal(got.n, expected.n, what .. ", " .. name .. ": number of values")
    for i = 1, expected.n do
      if got[i] ~= expected[i] and not (got[i] ~= got[i] and expected[i] ~= expected[i]) then
        error(("%s, %s, value %d: expected %s, got %s"):format(what, name, i, shown(expected[i]), shown(got[i])), 0)
      end
    end
  end
end

local function args(...)
  local list = pack(...)
  return function() return list end
end

-- A reader function that returns pieces.
local function reader(pieces)
  local i = 0
  return function()
    i = i + 1
    return pieces[i]
  end
end

test("they are replaced", function()
  for _, name in ipairs(names) do
    ok(guarded[name] ~= original[name], name)
    equal(debug.getinfo(guarded[name], "S").what, "C")
  end
  equal(leash.guard_stdlib(), _G)
  for _, name in ipairs(names) do equal(_G[name], guarded[name]) end
  local env = leash.guard_stdlib { string = {}, compile = original.load, loadstring = print }
  ok(env.compile ~= original.load)
  equal(env.loadstring, print)
end)

local long = ("local x = 1 "):rep(150) .. "return x, ..."
local text = "local a, b = ... return a, b, [[" .. ("text "):rep(300) .. "]]"

test("texts", function()
  for _, t in ipairs {
    "", " ", "return 1", "return ...", "x x", "return", "return 'unfinished", "return [[unfinished", "--[[unfinished", "-- comment", "#!/bin/lua\nreturn 1",
    "\239\187\191return 1", "\239\187", "\239", "\0", "return '\0'", "return 1 --" .. ("-"):rep(1000), ("\n"):rep(500) .. "x x", long, text,
    ("x"):rep(127), ("x"):rep(128), ("x"):rep(129), ("x"):rep(128) .. " = 1 return 1", "return '" .. ("\\z \n"):rep(100) .. "x'", "return 0x" .. ("f"):rep(300),
    "return " .. ("1"):rep(300), "return '" .. ("\\65"):rep(200) .. "'", "goto x; ::x:: return 2", "error('x', 2)", "\27", "\27Lua", "\27LJ\2", 12, 1.5,
    ("return "):rep(2), ("("):rep(300), ("{"):rep(300) .. ("}"):rep(300), "local " .. ("a,"):rep(300) .. "b", "return " .. ("a.b"):rep(100, "."),
  } do
    same(shown(t), args(t))
    same(shown(t) .. ", named", args(t, "=name"))
    same(shown(t) .. ", by a reader", function() return pack(reader { t }) end)
  end
end)

test("all arguments", function()
  local env = { x = 5 }
  local values = { "=name", "@file", "name\nof lines", 7, {}, print, true, false, "t", "b", "bt", "", "B", "tB", "x", env, setmetatable({}, {}) }
  for _, t in ipairs { "return x, ...", "x x", 5 } do
    for a = 0, #values do
      same("name " .. a, args(t, values[a]))
      same("mode " .. a, args(t, "=n", values[a]))
      same("environment " .. a, args(t, "=n", "t", values[a]))
      same("nil environment " .. a, args(t, "=n", nil, nil, values[a]))
      same("reader, mode " .. a, function() return pack(reader { tostring(t) }, "=n", values[a], env) end)
      same("reader, name " .. a, function() return pack(reader { tostring(t) }, values[a], nil, env, 1, 2, 3) end)
    end
  end
  for a = 1, #values do
    same("no text " .. a, args(values[a]))
    same("no text, other arguments " .. a, args(values[a], {}, {}, {}))
  end
  same("nothing", args())
  same("nil", args(nil))
  same("environment without a variable", args("return 1", "=n", "t", env))
  for _, e in ipairs { 0, "text", print } do same("an environment that is no table", args("return _ENV", "=n", "t", e)) end
end)

test("reader functions", function()
  local function throws() error("from the reader", 0) end
  local function throws_here() error "from the reader" end
  same("one that throws", args(throws))
  same("one that throws, with its place", args(throws_here))
  for _, value in ipairs { {}, true, print } do
    same("one that returns no string", function() return pack(reader { "return 1", value }) end)
  end
  same("numbers", function() return pack(reader { "return ", 12, " + ", 1.5 }) end)
  same("an empty string ends it", function() return pack(reader { "return 1", "", "x x" }) end)
  same("false", function() return pack(reader { "return 1", false }) end)
  same("pieces, long and short", function() return pack(reader { text:sub(1, 1), text:sub(2, 400), text:sub(401, 402), text:sub(403) }) end)
  for size = 1, 9 do
    same("pieces of " .. size, function()
      local pieces = {}
      for i = 1, #text, size do pieces[#pieces + 1] = text:sub(i, i + size - 1) end
      return pack(reader(pieces), "=pieces")
    end)
  end
  same("one that loads", function()
    local done
    return pack(function()
      if done then return nil end
      done = true
      return "return " .. tostring(_G[names[1]](reader { "return 3" })())
    end)
  end)
end)

test("bytecode", function()
  local function f(...) local t = { ... } return #t, ("x"):rep(300) end
  for _, code in ipairs { string.dump(f), string.dump(original[names[#names]](long)), string.dump(f):sub(1, 40), string.dump(f):sub(1, -2) } do
    same("bytecode", args(code))
    same("not allowed", args(code, "=n", "t"))
    same("by a reader", function() return pack(reader { code }, "=n", "b") end)
    same("by a reader, in pieces", function() return pack(reader { code:sub(1, 1), code:sub(2, 200), code:sub(201) }, "=n", "b") end)
  end
end)

-- Random texts, of what compilers know, put together without sense; most are wrong somewhere.
local words = {
  "local", "x", "y", "z", "=", "1", "2.5", "'s'", "\"t\"", "[[long\ntext]]", "(", ")", "{", "}", "if x then", "else", "elseif y then", "end", "do", "for i = 1, 2 do",
  "function f(a, ...)", "return", "return x", "...", "+", "-", "..", "and", "or", "not", "==", "<", ";", ",", ".", ":", "\n", "-- comment\n", "--[[ c ]]", "break", "while false do",
  "repeat", "until true", "nil", "true", "0x10", "1e3", "#", "%", "^", "'\\n\\65'", "::l::", "goto", "x.y", "x[1]", "t = t or {}",
}

test("random texts", function()
  local rounds, seed = tonumber(os.getenv "LOAD_ROUNDS" or 3000), tonumber(os.getenv "LOAD_SEED" or 1)
  for s = seed, seed + rounds - 1 do
    math.randomseed(s)
    local list = {}
    -- Whole statements first, so that many get far.
    for _ = 1, math.random(0, 60) do
      list[#list + 1] = ({ "local x = 1", "x = (x or 0) + 1", "do local y = x end", "local s = 'text of some length'", "if x then y = 2 else y = 3 end", "t = { 1, 2, x }" })[math.random(6)]
    end
    for _ = 1, math.random(0, 8) do list[#list + 1] = words[math.random(#words)] end
    local t = table.concat(list, ({ " ", "\n", "  \n " })[math.random(3)])
    local function make()
      if math.random(2) == 1 then return pack(t, "=t", "t", {}) end
      local pieces, i = {}, 1
      while i <= #t do
        local n = math.random(({ 3, 50, 400 })[math.random(3)])
        pieces[#pieces + 1] = t:sub(i, i + n - 1)
        i = i + n
      end
      return pack(reader(pieces), "=t", "t", {})
    end
    same("seed " .. s, function()
      math.randomseed(s) -- twice the same pieces
      return make()
    end)
  end
end)

-- Texts that take compilers the square of their length: minutes.
local endless = {
  ["elseif"] = "local a if a then " .. ("elseif a then "):rep(500000) .. "end",
  ["break"] = check.engine == "lua51" and "while true do " .. ("if a then break end "):rep(500000) .. "end" or nil, -- others allow 30,000 of them
  ["and"] = "local a return " .. ("a and "):rep(1000000) .. "a",
}

local load_text = guarded.loadstring or guarded.load

for what, t in pairs(endless) do
  test("stops: " .. what, function()
    for _, limits in ipairs { { timeout = 0.03 }, { cpu = 0.03 } } do
      for _, case in ipairs { { load_text, t }, { guarded.load, reader { t } } } do
        local fine, err = leash.call(limits, case[1], case[2])
        equal(fine, false)
        equal(leash.reason(err), limits.timeout and "timeout" or "cpu")
      end
    end
    collectgarbage()
  end)
end

test("stops in a finalizer, and where the error is caught", function()
  for _, f in ipairs {
    function() while true do load_text(endless["and"]) end end,
    function() while true do pcall(load_text, endless["and"]) end end,
    function() coroutine.wrap(function(...) load_text(...) end)(endless["elseif"]) end,
    function()
      local function finalizer() while true do load_text(endless["elseif"]) end end
      if newproxy then getmetatable(newproxy(true)).__gc = finalizer else setmetatable({}, { __gc = finalizer }) end
      collectgarbage()
      collectgarbage()
      while true do end
    end,
  } do
    local fine, err = leash.call(0.03, f)
    equal(fine, false)
    equal(leash.reason(err), "timeout", tostring(err))
  end
end)

check.finish()
