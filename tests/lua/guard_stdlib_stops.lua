-- leash.guard_stdlib: the guarded functions stop, and go on when they may. That they do the same as the originals is in `guard_stdlib.lua`.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so;target/modules-test/lua54/?.so' lua5.4 tests/lua/guard_stdlib_stops.lua
--
-- What does not stop hangs: whoever runs this has a time limit.

local check = require "support.check"
local leash = require "leash"
local mtint = require "mtint"
local llthreads = require "llthreads2.ex"
local mtmsg = require "mtmsg"
local calls = require "support.calls"
local while_interrupted = require "support.while_interrupted"
local equal, ok, contains = check.equal, check.ok, check.contains
local stopped, clean_test, SHORT = calls.stopped, calls.clean_test, calls.SHORT
local unpack = table.unpack or unpack

leash.guard_stdlib()

local a = ("a"):rep(100000)
local million = ("a"):rep(1000000)
local brackets = ("("):rep(1000000)

-- Each takes minutes at least, most of them longer than the universe has lasted.
local endless = {
  { "find", a, ("a*"):rep(30) .. "b" },
  { "find", a, ("a-"):rep(20) .. "b" },
  { "find", a, ("a?"):rep(100) .. ("a+"):rep(20) .. "b" },
  { "find", a, "^(a*)(a*)(a*)(a*)%1%2%3%4b" },
  { "find", million, ("a"):rep(500000) .. "b", 1, true },
  { "find", million .. million, million .. "b" },
  { "find", million, ("a"):rep(500000) .. "[b]" },
  { "find", brackets, "%b()" },
  { "find", a .. a, "[" .. ("b"):rep(1000000) .. "]" },
  { "find", a .. a, "%f[" .. ("b"):rep(1000000) .. "]" },
  { "match", a, ("%a*"):rep(30) .. "b" },
  { "match", a, ("[ab]*"):rep(30) .. "c" },
  { "match", a, ("(.-)"):rep(30) .. "b" },
  { "match", million, ".-.-.-b" },
  { "gsub", a, ("a*"):rep(30) .. "b", "" },
  { "gsub", million, ".-b", "x" },
  { "gsub", a, "a*%f[b]", {} },
  { "gsub", brackets, "%b()", function() end },
  { "rep", "ab", 400000000 },
}

local function described(case)
  local said = {}
  for i = 1, #case do said[i] = ("%.20s"):format(tostring(case[i])) end
  return table.concat(said, ", ")
end

for _, case in ipairs(endless) do
  clean_test("stops: " .. described(case), function()
    stopped("timeout", leash.call(SHORT, string[case[1]], unpack(case, 2)))
    collectgarbage()
  end)
end

clean_test("an iterator stops", function()
  for _, p in ipairs { ("a*"):rep(30) .. "b", ".-.-.-b", ("(a-)"):rep(20) .. "b" } do
    local iterator = a:gmatch(p)
    stopped("timeout", leash.call(SHORT, iterator))
    stopped("timeout", leash.call(SHORT, function() for _ in a:gmatch(p) do end end))
  end
end)

local function endlessly() return a:find(("a*"):rep(30) .. "b") end

clean_test("it stops for each reason that is a time, and in coroutines", function()
  stopped("cpu", leash.call({ cpu = SHORT }, endlessly))
  stopped("timeout", leash.call(SHORT, coroutine.wrap(endlessly)))
  stopped("timeout", leash.call(SHORT, function() while true do coroutine.wrap(function() pcall(endlessly) end)() end end))
  stopped("timeout", leash.call(SHORT, function() while true do pcall(endlessly) end end))
  stopped("timeout", leash.call(SHORT, function() while true do xpcall(endlessly, endlessly) end end))
  stopped("timeout", leash.call(SHORT, function() return (("x"):gsub("x", endlessly)) end))
  stopped("timeout", leash.call(SHORT, function() return leash.call(100, endlessly) end))
end)

clean_test("the traceback names the function", function()
  local err = stopped("timeout", leash.call(SHORT, function() local n = string.find(a, ("a*"):rep(30) .. "b") return n end))
  contains(err.traceback, "guard_stdlib_stops.lua")
  contains(err.traceback, "find")
end)

clean_test("the memory limit counts results", function()
  stopped("memory", leash.call({ memory = 1000000 }, string.rep, "x", 100000000))
  stopped("memory", leash.call({ memory = 1000000 }, string.rep, "xyz", 10000000, ", "))
  stopped("memory", leash.call({ memory = 1000000 }, string.gsub, a, "a", ("%0"):rep(1000)))
  stopped("memory", leash.call({ memory = 1000000 }, string.gsub, a, "a", function() return ("x"):rep(1000) end))
  stopped("memory", leash.call({ memory = 1000000 }, string.gsub, a, "a", { a = ("x"):rep(1000) }))
  equal(select(2, leash.call({ memory = 10000000 }, string.rep, "x", 100000)), ("x"):rep(100000))
  collectgarbage()
end)

clean_test("an instruction limit charges nothing for what a function does", function()
  local fine, from = leash.call({ instructions = 10000 }, string.find, million, "[^a]")
  equal(fine, true)
  equal(from, nil)
end)

-- LuaJIT: what is short is left to the originals, in compiled code.
clean_test("loops over short calls stop", function()
  local z, needle = ("z"):rep(131072), ("z"):rep(63) .. "y"
  local find, rep = string.find, string.rep
  -- 5.1 makes coroutines of Lua functions only.
  local body = check.engine == "lua51" and function(...) return find(...) end or find
  local loops = {
    function() while true do find("hello world", "wor", 1, true) end end,
    function() while true do find("hello world", "wor") end end,
    function() while true do local _ = #rep("ab", 5) end end,
    function() local i = 0 while true do i = i + 1 find("hello world", "wor", i % 7) rep("ab", i % 5) end end,
    function() while true do pcall(find, "hello world", "wor") pcall(rep, "x", 10) pcall(find) pcall(rep) end end,
    function() local i = 0 while true do i = i + 1 find(z, needle, i % 7, true) end end,
    function() local i = 0 while true do i = i + 1 rep("ab", 65536 - i % 7) end end,
    function() while true do z:gsub("(z)(z)", find) end end,
    function() while true do z:gsub("(z)()", rep, 1000) end end,
    function() local t = {} for i = 1, 1000 do t[i] = "z" .. i end while true do pcall(table.sort, t, find) end end,
    function() while true do coroutine.wrap(body)("hello world", "wor") end end,
    function() local t = setmetatable({}, { __index = find }) while true do pcall(function() return t.x end) end end,
  }
  for i = 1, #loops do
    stopped("timeout", leash.call(SHORT, loops[i]))
    stopped("timeout", leash.call(SHORT, function() while true do pcall(loops[i]) end end))
  end
  -- As many as fit between two guards.
  for _, n in ipairs { 16384, 131072 } do
    local code = { "local find, rep, s, p = ... local i = 0 while true do i = i + 1 " }
    for k = 1, 140 do code[#code + 1] = ("find(s, p, i %% 9 + %d, true) "):format(k) end
    code[#code + 1] = "end"
    local f = (loadstring or load)(table.concat(code))
    stopped("timeout", leash.call(0.3, f, find, rep, z:sub(1, n), needle))
  end
end)

-- Interrupts that do not stop ----------------------------------------------------------------------------------------------------

local cases = {
  { "find", ("a"):rep(700), "a*a*b" },
  { "find", ("a"):rep(300000), ("a"):rep(100) .. "b", 1, true },
  { "match", ("a"):rep(700) .. "c", "(a-)(a-)b" },
  { "gsub", ("ab "):rep(20000), "(%a)(%a)", "%2%1" },
  { "gsub", ("ab "):rep(20000), "[^ ]+", { ab = "xyz" } },
  { "gsub", ("a"):rep(400), "a-b", "x" },
  { "rep", "abc", 3000000 },
}

for _, case in ipairs(cases) do
  clean_test("goes on after a handler: " .. described(case), function()
    local f = string[case[1]]
    local expected = { f(unpack(case, 2)) }
    while_interrupted(5, function()
      local results = { f(unpack(case, 2)) }
      for i = 1, 4 do equal(results[i], expected[i]) end
    end)
    collectgarbage()
  end)
end

clean_test("without a handler it is an error, which says where", function()
  local to = mtmsg.newbuffer()
  local thread = llthreads.new(function(id, inbox)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    inbox = mtmsg.buffer(inbox)
    while inbox:nextmsg(0.001) == nil do mtint.interrupt(id) end
  end, mtint.id(), to:id())
  local fine, message = pcall(function()
    thread:start()
    local found = a:find(("a*"):rep(30) .. "b")
    return found
  end)
  repeat
    local sent = pcall(function() to:addmsg "end" end)
  until sent
  while not pcall(function() thread:join() end) do end
  mtint.interrupt(mtint.id(), false)
  equal(fine, false)
  contains(message, mtint.error.interrupted)
  ok(message:match "^[^:]*guard_stdlib_stops%.lua:%d+: ", message)
end)

-- LuaJIT: what is in front of `find` and `rep` is not where the code is.
clean_test("it says where in loops over short calls, too", function()
  local find, rep = string.find, string.rep
  -- 5.1 makes coroutines of Lua functions only.
  local body = check.engine == "lua51" and function(...) return find(...) end or find
  local loops = {
    function() while true do find("hello world", "wor", 1, true) rep("ab", 5) end end,
    function() while true do find("hello world", "wor") for _ in pairs { 1 } do find("hello world", "b%d") end end end,
  }
  for i = 1, 40 do
    local thread = llthreads.new(function(id)
      local mtmsg, mtint = require "mtmsg", require "mtint"
      mtmsg.newbuffer():nextmsg(0.001)
      mtint.interrupt(id)
    end, mtint.id())
    local fine, message = pcall(function()
      thread:start()
      loops[i % 2 + 1]()
    end)
    thread:join()
    equal(fine, false)
    ok(message:match "^[^:]*guard_stdlib_stops%.lua:%d+: ", message)
  end
end)

-- Little is looked at, and much is done. Each would be over after a tenth of a second or two, and in one case with an error of its own.
clean_test("what is short, and takes long", function()
  local long = ("x"):rep(100000)
  local SOON = 0.005
  stopped("timeout", leash.call(SOON, function() return long:gsub(".*", ("%0"):rep(2000) .. "%9", 1) end))
  stopped("timeout", leash.call(SOON, function() return long:gsub("(.*)", ("%1"):rep(2000) .. "%9", 1) end))
  local set = "[" .. ("abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123"):rep(2):sub(1, 57) .. "x]*!"
  local s = ("x"):rep(2046)
  stopped("timeout", leash.call(SOON, function()
    for _ in s:gmatch(set) do end
  end))
end)

check.finish()
