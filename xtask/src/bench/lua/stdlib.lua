-- What the guarded functions of `string` and `table`, and the guarded `pcall` and `xpcall`, take, of what the originals take: INTERPRETER stdlib.lua [TURNS] ["interpreted"]
--
-- Both in one process, in turn, in the same code, loaded once for each. A line for each workload: its name and the ratio of each turn.

local turns, interpreted = tonumber(arg[1] or 15), arg[2] == "interpreted"
if jit and interpreted then jit.off() end

local original = {}
local guarded = {}
local function collect(into)
  for _, library in ipairs { string, table } do
    for name, f in pairs(library) do into[name] = f end
  end
  into.pcall, into.xpcall, into.compile = pcall, xpcall, loadstring or load
end
collect(original)
require "leash".guard_stdlib()
collect(guarded)

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
  { "insert, append", 1, [[ local list = {} for k = 1, 100 do insert(list, k) end ]] },
  { "insert, first of 10", 100, [[ insert(ten, 1, i) ten[11] = nil ]] },
  { "insert, first of 1000", 10, [[ insert(thousand, 1, i) thousand[1001] = nil ]] },
  { "insert, first of 100,000", 1, [[ insert(many, 1, i) many[100001] = nil ]] },
  { "remove, last", 100, [[ remove(ten) ten[10] = i ]] },
  { "remove, first of 10", 100, [[ remove(ten, 1) ten[10] = i ]] },
  { "remove, first of 1000", 10, [[ remove(thousand, 1) thousand[1000] = i ]] },
  { "remove, first of 100,000", 1, [[ remove(many, 1) many[100000] = i ]] },
  { "concat, 3 words", 100, [[ concat(three, " ") ]] },
  { "concat, 100 words", 10, [[ concat(hundred, ", ") ]] },
  { "concat, 10,000 words", 1, [[ concat(all) ]] },
  { "concat, 1000 numbers", 1, [[ concat(thousand, ",") ]] },
  { "sort, 10 numbers", 10, [[ for k = 1, 10 do ten[k] = k * 7 % 11 end sort(ten) ]] },
  { "sort, 1000 numbers", 1, [[ for k = 1, 1000 do thousand[k] = k * 617 % 1009 end sort(thousand) ]] },
  { "sort, 100 words", 1, [[ for k = 1, 100 do hundred[k] = all[k * 37] end sort(hundred) ]] },
  { "sort, by a function", 1, [[ for k = 1, 100 do ten[k] = k * 37 % 101 end sort(ten, less) for k = 11, 100 do ten[k] = nil end ]] },
  { "load, short", 10, [[ compile("return 1") ]] },
  { "load, 6 kB", 1, [[ compile(program) ]] },
  { "pcall", 100, [[ pcall(f, hello) ]] },
  { "pcall that catches", 100, [[ pcall(error, hello) ]] },
  { "xpcall that catches", 100, [[ xpcall(error, f) ]] },
  { "move, 3", 100, [[ move(ten, 1, 3, 4) ]], "move" },
  { "move, 1000", 10, [[ move(thousand, 1, 1000, 2) thousand[1001] = nil ]], "move" },
  { "move, 100,000 to another", 1, [[ move(many, 1, 100000, 1, other) ]], "move" },
}

local three, hundred, all, ten, thousand, many, other = { "a", "few", "words" }, {}, {}, {}, {}, {}, {}
for i = 1, 100000 do many[i] = i end
for i = 1, 10000 do all[i] = ("word%x"):format(i * 7919 % 10007) end
for i = 1, 1000 do thousand[i] = i end
for i = 1, 100 do hundred[i] = all[i] end
for i = 1, 10 do ten[i] = i end
local function less(a, b) return a < b end

local program = ([[
local function visit(node, depth) -- as programs are
  if type(node) ~= "table" then return tostring(node) .. "\n" end
  local parts, indent = {}, ("  "):rep(depth or 0)
  for key, value in pairs(node) do
    if value ~= nil and (not hidden or not hidden[key]) then
      parts[#parts + 1] = indent .. key .. " = " .. visit(value, (depth or 0) + 1)
    end
  end
  return #parts > 0 and table.concat(parts) or "{}"
end
]]):rep(13)
local t = { the = "THE", fox = "FOX", ["&"] = "&amp;", ["'"] = "&#39;" }
local function f(word) return #word > 4 and "long" or nil end

local function make(code, repetitions, set)
  local source = ([[
    local words, lines, long, csv, hellos, t, f, find, match, gmatch, gsub, rep = ...
    local three, hundred, all, ten, thousand, many, other, less, insert, remove, concat, sort, move, pcall, xpcall, compile, program = select(13, ...)
    return function(n)
      for i = 1, n * %d do
        local hello, hello42 = hellos[i %% 4 + 1], hellos[i %% 4 + 5]
        %s
      end
    end]]):format(repetitions, code)
  return (loadstring or load)(source)(words, lines, long, csv, hellos, t, f, set.find, set.match, set.gmatch, set.gsub, set.rep,
    three, hundred, all, ten, thousand, many, other, less, set.insert, set.remove, set.concat, set.sort, set.move, set.pcall, set.xpcall, set.compile, program)
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
  if (not wanted or workload[1]:find(wanted)) and (not workload[4] or original[workload[4]]) then
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
