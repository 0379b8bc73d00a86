-- leash.guard_stdlib: the guarded functions of `string` do the same as the originals, where subjects, texts and results are long, and where the same is called again and
-- again. The corners, and random calls, are in `guard_stdlib.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/guard_stdlib_long.lua

local check = require "support.check"
local strings = require "support.strings"
local test, equal, ok = check.test, check.equal, check.ok
local compare, original, guarded = strings.compare, strings.original, strings.guarded

test("plain text", function()
  local long = ("abcdefghij"):rep(20000)
  for _, needle in ipairs { "", "a", "j", "x", "ja", "abcdefghij", ("abcdefghij"):rep(3), "abcdefghix", "\0", "jx", ("abcdefghij"):rep(7000) .. "x", ("abcdefghij"):rep(7000), long, long .. "x" } do
    for _, init in ipairs { 1, 2, 65530, 65536, 65537, 131072, 199990, 200000, 200001, 200002, -1, -65536 } do
      compare("find", "find", long, needle, init, true)
      compare("find", "find", long, needle, init)
    end
  end
  for _, special in ipairs { "^", "$", "*", "+", "?", ".", "(", "[", "%", "-", "]", ")", "\0.", "a\0.", ".\0", "]b" } do
    for _, s in ipairs { "", "a", "a.b", "a\0.b", "^$*+?.([%-])", "]b" } do
      compare("find", "find", s, special)
      compare("find", "find", s, special, 1, true)
      compare("find", "find", s, special, 2, false)
      compare("find", "find", s, special, 2, 0)
    end
  end
end)

-- LuaJIT: what is in front calls the original up to these sizes, and compiled code has a way of its own for each kind of arguments.
local SIZES = { 0, 1, 2, 63, 64, 65, 16383, 16384, 16385, 131071, 131072, 131073, 524287, 524288, 524289 }

test("plain text of all sizes", function()
  for _, n in ipairs(SIZES) do
    local a = ("a"):rep(n)
    for _, m in ipairs { 0, 1, 2, 62, 63, 64, 65, 100 } do
      local p = ("a"):rep(m)
      compare("find", "find", a .. "b", p .. "b", n - m, true)
      compare("find", "find", a .. "b", p .. "b", n - m)
      compare("find", "find", a, p, n - m)
      compare("find", "find", "x" .. a, p .. "y", -100, true)
      compare("find", "find", "." .. a, "." .. p)
      compare("find", "find", "." .. a, "." .. p, 1, true)
    end
    compare("find", "find", a .. "b", "b", 1, true)
    compare("find", "find", a .. "b", "")
  end
end)

test("results of all sizes", function()
  for _, n in ipairs(SIZES) do
    if n < 200000 then
      for _, separator in ipairs { false, "", "x", ", " } do
        compare("rep", "rep", "a", n, separator or nil)
        compare("rep", "rep", "abc", n / 3, separator or nil)
        compare("rep", "rep", ("a"):rep(n), 1, separator or nil)
        compare("rep", "rep", "", n, separator or nil)
      end
    end
  end
end)

test("the same calls in loops, which are compiled", function()
  local values = { 1, 2, -1, 0, 1.5, 100, 0 / 0, 2 ^ 31, -2 ^ 40, "1", "x", true, {}, false }
  local subjects = { "hello", "", "he.lo", 12, "l\0l", false, ("l"):rep(20000), ("l"):rep(140000) .. "." }
  local patterns = { "l", "", ".", "lo", "%w", 1, "\0", "[", false, ("l"):rep(70) .. "o" }
  -- LuaJIT compiles a loop when it has run some 56 times, and the other ways through it after 10 more; here it need not wait for that.
  if jit then jit.opt.start("hotloop=5", "hotexit=2") end
  local rounds = jit and 30 or 12
  local code = ([[local find, rep, pcall, s, p, i, log = ...
    local n = 0
    local function note(...) n = n + 1 if n > ROUNDS - 10 then log[#log + 1] = { select("#", ...), ... } end end
    for _ = 1, ROUNDS do CALL end]]):gsub("ROUNDS", rounds)
  local calls = {
    "note(find(s, p))", "note(find(s, p, i))", "note(find(s, p, i, true))", "note(find(s, p, 1, i))", "note(find(s, p, nil, true, i))", "note((find(s, p)))", "note(pcall(find, s, p, i))",
    "note(rep(s, i))", "note(rep(s, 3, p))", "note(pcall(rep, s, i, p))", "local a, b = find(s, p, 1, true) note(a, b)",
  }
  for _, call in ipairs(calls) do
    for _, s in ipairs(subjects) do
      for _, p in ipairs(patterns) do
        for _, i in ipairs(original.find(call, "%f[%w]i%f[%W]") and values or { 1 }) do
          -- What takes long, or much memory.
          local huge = type(s) == "string" and #s > 10000
          local long = type(i) == "number" and i > 1000 or huge and i ~= 1 and i ~= -1
          if not long then
            local logs = {}
            for k, set in ipairs { original, guarded } do
              local log = {}
              local run = (loadstring or load)((original.gsub(code, "CALL", function() return call end)))
              string.find, string.rep = set.find, set.rep -- where 5.2 and later look for the name
              log[1] = { pcall(run, set.find, set.rep, pcall, s, p, i, log) }
              logs[k] = log
            end
            equal(#logs[2], #logs[1])
            for j = 1, #logs[1] do
              for k = 1, 6 do
                local theirs, ours = logs[1][j][k], logs[2][j][k]
                if theirs ~= ours and theirs == theirs then error(("%s of %q, %q, %s: %s instead of %s"):format(call, tostring(s):sub(1, 20), tostring(p), tostring(i), tostring(ours), tostring(theirs)), 0) end
              end
            end
          end
        end
      end
    end
  end
  if jit then jit.opt.start("hotloop=56", "hotexit=10") end
end)

test("many patterns", function()
  local function run()
    for i = 1, 20000 do
      local p = "text " .. i
      if string.find(p, "t " .. i) ~= 4 or string.find(p, i .. "$") ~= 6 or string.find(p, p .. ".") then error(p) end
    end
    for _ = 1, 10 do collectgarbage() end -- each halves the table of all strings at most
    return collectgarbage "count"
  end
  local before = run()
  ok(run() < before + 100, "patterns are kept")
  for i = 1, 600 do compare("find", "find", "text 7.", "t " .. i % 300) end
end)

test("long subjects", function()
  local blocks = { 4095, 4096, 4097, 8191, 8192, 8193, 20000, 70000 }
  for _, n in ipairs(blocks) do
    local a = ("a"):rep(n)
    for _, p in ipairs { "a*", "a*b", "^a-b", "[ab]*", "[^b]*b", ".*b", "%a+", "%w-b", "^%bab", "^%bax", "(a*)b", "^[^%z]+$", "%A", "%z" } do
      -- What is quadratic begins near the end, but once.
      local init = n ~= 4097 and original.find(p, "^[^^].*b$") and n - 3 or 1
      for _, s in ipairs { a, a .. "b" } do
        compare("find", "find", s, p, init)
        compare("match", "match", s, p, init)
      end
    end
    compare("gsub", "gsub", a, "a", "b")
    compare("gsub", "gsub", a, "a", "%0%0")
    compare("gsub", "gsub", a .. "b" .. a, "b", ("%0x"):rep(n))
    compare("gsub", "gsub", a, "a", { a = "xyz" })
    compare("gsub", "gsub", a, "x", "y")
    compare("match", "match", a .. "b" .. a .. "c", "^(a*)b%1c$")
    compare("match", "match", a .. "b" .. a .. "c", "^(a*)b%1x$")
  end
end)

-- Where many places look like the text, the search goes on in another way, in windows of 65,536 places.
test("text in long subjects", function()
  local function find(s, p, init)
    compare("find", "find", s, p, init, true)
  end
  local near = ("abcab"):rep(30)
  local texts = { "abd", "abcabd", near .. "x", near .. "xyz", "b" .. near .. "x", "ab\0", "\0", "x" }
  for _, n in ipairs { 100, 1024, 1100, 65530, 65536, 65550, 131072, 200000 } do
    local long = ("abcab"):rep(math.floor(n / 5))
    for _, text in ipairs(texts) do
      find(long, text)
      find(long .. text, text)
      find(long .. text .. long, text, 30)
      find(long .. text:sub(1, -2), text)
      find(long .. text .. text, text, n)
    end
  end
  -- Each place near the end of a window, of all that is searched through and of what is looked at first.
  local a = ("a"):rep(66000)
  for _, at in ipairs { 17, 18, 19, 500, 65535, 65536, 65537, 65550, 65551, 65552, 65553, 65554, 65999, 66000 } do
    for _, text in ipairs { "b", "ba", "ab", "aab", ("a"):rep(20) .. "b", ("a"):rep(16) .. "ba" } do
      local s = a:sub(1, at) .. "b" .. a:sub(at + 2)
      find(s, text)
      find(s, text, at > 40000 and 40 or 2)
      find(s:sub(1, at + 1), text)
      find(s:sub(1, at), text)
    end
  end
  -- Texts as long as what is searched for in the other way, and longer. (The originals are quadratic.)
  for _, n in ipairs { 65535, 65536, 65537 } do
    local text = ("ab"):rep(math.ceil(n / 2)):sub(2) .. "c"
    for _, before in ipairs { 0, 1, 50, 3000 } do
      local s = ("ab"):rep(before) .. text .. ("ab"):rep(600)
      find(s, text)
      find(s, text, 2 * before + 3)
    end
  end
end)

check.finish()
