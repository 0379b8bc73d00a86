-- What the guarded functions of `string` take, of what the originals take: INTERPRETER stdlib.lua [TURNS] ["interpreted"]
--
-- Both in one process, in turn, in the same code, loaded once for each. A line for each workload: its name and the ratio of each turn.

local turns, interpreted = tonumber(arg[1] or 15), arg[2] == "interpreted"
if jit and interpreted then jit.off() end

local original = {}
for name, f in pairs(string) do original[name] = f end
require "leash".guard_stdlib()
local guarded = string

local words = ("the quick brown fox jumps over the lazy dog, again and again; "):rep(20)
local lines = ("key1 = value one\nkey2=value 2\n\n# a comment\nlonger_key = 'quoted text'\n"):rep(10)
local long = ("abcdefghijklmnopqrstuvwxyz "):rep(4000)
-- Not always the same: LuaJIT moves what does not change out of the loop.
local hellos = {
  "hello world", "hello, world", "hallo world!", "hello  world", "hello world 42", "hello, world 123", "hallo world 7 and more", "hello 7 world",
}
local csv = ("12,abc,3.5,\"quoted\",,last\n"):rep(20)

-- name, repetitions of the code in a loop, code. `S` is the table of functions.
local workloads = {
  { "find plain, short", 100, [[ find(hello, "wor", 1, true) ]] },
  { "find text, short", 100, [[ find(hello, "wor") ]] },
  { "find text, not there", 100, [[ find(hello, "xyz") ]] },
  { "find plain, 100 kB", 1, [[ find(long, "zy", 1, true) ]] },
  { "find pattern, short", 100, [[ find(hello42, "%d+") ]] },
  { "find pattern, anchored", 100, [[ find(hello, "^%a+ ") ]] },
  { "find pattern, 100 kB", 1, [[ find(long, "%d") ]] },
  { "match a number", 100, [[ match("  12.5e3", "^%s*([+-]?%d+%.?%d*[eE]?[+-]?%d*)") ]] },
  { "match key = value", 100, [[ match("key = some value", "^(%w+)%s*=%s*(.-)%s*$") ]] },
  { "match, set", 100, [[ match("foo_bar(baz)", "^[%a_][%w_]*") ]] },
  { "match, trim", 100, [[ match("   some text to trim   ", "^%s*(.-)%s*$") ]] },
  { "match, nothing", 100, [[ match(hello, "^%d") ]] },
  { "match, backtracking", 10, [[ match("aaaaaaaaaaaaaaaa", "a*a*a*b") ]] },
  { "match, balanced", 100, [[ match("f(a(b)c)d", "%b()") ]] },
  { "gmatch, words", 1, [[ for w in gmatch(words, "%a+") do end ]] },
  { "gmatch, two words", 100, [[ for w in gmatch("two words", "%a+") do end ]] },
  { "gmatch, lines", 1, [[ for line in gmatch(lines, "[^\n]*") do end ]] },
  { "gmatch, fields", 1, [[ for k, v in gmatch(lines, "(%w+)%s*=%s*([^\n]*)") do end ]] },
  { "gmatch, commas", 1, [[ for f in gmatch(csv, "([^,\n]*)") do end ]] },
  { "gsub, string", 1, [[ gsub(words, "%a+", "word") ]] },
  { "gsub, capture", 1, [[ gsub(words, "(%a+)", "<%1>") ]] },
  { "gsub, table", 1, [[ gsub(words, "%a+", t) ]] },
  { "gsub, function", 1, [[ gsub(words, "%a+", f) ]] },
  { "gsub, character", 1, [[ gsub(words, " ", "_") ]] },
  { "gsub, every character", 1, [[ gsub(lines, ".", "%0%0") ]] },
  { "gsub, short", 100, [[ gsub(hello, "o", "0") ]] },
  { "gsub, nothing", 100, [[ gsub(hello, "x", "y") ]] },
  { "gsub, escape", 1, [[ gsub(lines, "[&<>\"']", t) ]] },
  { "rep, short", 100, [[ rep("ab", 5) ]] },
  { "rep, one", 100, [[ rep(" ", 40) ]] },
  { "rep, 10 kB", 10, [[ rep("0123456789", 1000) ]] },
  { "rep, 100 kB", 1, [[ rep("x", 100000) ]] },
  { "rep, separator", 100, [[ rep("ab", 5, ", ") ]] },
}

local t = { the = "THE", fox = "FOX", ["&"] = "&amp;", ["'"] = "&#39;" }
local function f(word) return #word > 4 and "long" or nil end

local function make(code, repetitions, set)
  local source = ([[
    local words, lines, long, csv, hellos, t, f, find, match, gmatch, gsub, rep = ...
    return function(n)
      for i = 1, n * %d do
        local hello, hello42 = hellos[i %% 4 + 1], hellos[i %% 4 + 5]
        %s
      end
    end]]):format(repetitions, code)
  return (loadstring or load)(source)(words, lines, long, csv, hellos, t, f, set.find, set.match, set.gmatch, set.gsub, set.rep)
end

local clock = os.clock
local function time(run, n)
  collectgarbage() collectgarbage "stop"
  local start = clock()
  run(n)
  local took = clock() - start
  collectgarbage "restart"
  return took
end

local wanted = arg[3]
for _, workload in ipairs(workloads) do
  if not wanted or workload[1]:find(wanted) then
    local name, repetitions, code = workload[1], workload[2], workload[3]
    local theirs, ours = make(code, repetitions, original), make(code, repetitions, guarded)
    local n = 1
    -- By the slower one, lest what LuaJIT compiles is measured against what it does not.
    while time(theirs, n) + time(ours, n) < 0.006 do n = n * 2 end
    local ratios = {}
    for turn = 1, turns do
      local a, b
      if turn % 2 == 0 then
        a = time(theirs, n)
        b = time(ours, n)
      else
        b = time(ours, n)
        a = time(theirs, n)
      end
      ratios[turn] = ("%.4f"):format(b / a)
    end
    print(name .. "\t" .. table.concat(ratios, " "))
  end
end
