-- corowatch: everything that one OS thread can see. Run as: INTERPRETER tests/lua/corowatch.lua, with LUA_PATH and LUA_CPATH set.

local corowatch = require "corowatch"

local failures, count = 0, 0
local function test(name, f)
  count = count + 1
  local ok, e = xpcall(f, debug.traceback)
  if not ok then
    failures = failures + 1
    io.stderr:write("FAILED: ", name, "\n", tostring(e), "\n")
  end
end

local function eq(a, b, what)
  if a ~= b then error((what or "values") .. " differ: " .. tostring(a) .. " and " .. tostring(b), 2) end
end

local function matches(s, pattern)
  if not tostring(s):find(pattern) then error("no '" .. pattern .. "' in: " .. tostring(s), 2) end
end

local function raises(pattern, f, ...)
  local ok, e = pcall(f, ...)
  if ok then error("no error, but expected '" .. pattern .. "'", 2) end
  matches(e, pattern)
end

-- LuaJIT: compiled code does not see hooks yet (an issue of its own), so endless loops here run interpreted. Everything
-- else stays compiled.
local function endless()
  if jit then jit.off(true) end
  return function() while true do end end
end
local LOOP = endless()
if jit then jit.off(LOOP) end

local function spin(seconds)
  local t = os.clock()
  while os.clock() - t < seconds do end
end

local EXCEEDED = "^Coroutine exceeded its allowed running time of 0.05 seconds, without yielding\n=+ traceback at coroutine creation time =+\n.*\n=+ end of traceback =+$"

test("a coroutine that does not yield is killed", function()
  local co = coroutine.create(LOOP)
  eq(corowatch.watch(co, 0.05), co)
  local ok, e, more = corowatch.resume(co)
  eq(ok, false)
  matches(e, EXCEEDED)
  eq(more, nil)
  matches(e, "corowatch.lua:%d+") -- where the watch was created
  eq(corowatch.status(co), "dead")
  eq(coroutine.status(co), "dead")
  local ok2, e2 = corowatch.resume(co)
  eq(ok2, false)
  eq(e2, e)
end)

test("numbers are given as tostring gives them", function()
  local co = corowatch.watch(coroutine.create(LOOP), 1 / 32)
  matches(select(2, corowatch.resume(co)), "running time of " .. tostring(1 / 32) .. " seconds")
end)

test("pcall, xpcall and nested coroutines do not help", function()
  local bodies = {
    function() while true do pcall(LOOP) end end,
    function() while true do xpcall(LOOP, function() LOOP() end) end end,
    function() while true do pcall(pcall, LOOP) end end,
    function() table.sort({ 3, 2, 1 }, function() LOOP() end) end,
    function() local t = setmetatable({}, { __index = function() LOOP() end }) return t.x end,
    function() string.gsub("aaa", "a", LOOP) end,
  }
  for i, body in ipairs(bodies) do
    if jit then jit.off(body, true) end
    local co = corowatch.watch(coroutine.create(body), 0.05)
    local ok, e = corowatch.resume(co)
    eq(ok, false, "body " .. i)
    matches(e, EXCEEDED)
    eq(corowatch.status(co), "dead")
  end
end)

test("what swallows the kill is dead all the same", function()
  local co = corowatch.watch(coroutine.create(function() return pcall(LOOP) end), 0.05)
  local ok, e = corowatch.resume(co)
  eq(ok, false)
  matches(e, EXCEEDED)
  eq(corowatch.status(co), "dead")
  eq(select(2, corowatch.resume(co)), e)
end)

test("one that yields in time is left alone, with its values", function()
  local co = corowatch.watch(coroutine.create(function(a, b)
    for i = 1, 1000 do a, b = corowatch.yield(a, b, i) end
    return "end", nil
  end), 5)
  local n = 0
  for i = 1, 1000 do
    local ok, a, b, c = corowatch.resume(co, i, nil)
    eq(ok, true) eq(a, i) eq(b, nil) eq(c, i)
    n = n + 1
  end
  eq(select("#", corowatch.resume(co, 1)), 3)
  eq(corowatch.status(co), "dead")
  matches(select(2, corowatch.resume(co)), "cannot resume dead coroutine")
end)

test("the clock starts at each resume", function()
  local co = corowatch.watch(coroutine.create(function()
    for i = 1, 6 do spin(0.12) corowatch.yield(i) end
    LOOP()
  end), 0.6) -- more than any one of them takes, even on a busy machine, and less than all together
  for i = 1, 6 do
    local ok, v = corowatch.resume(co)
    eq(ok, true) eq(v, i)
    spin(0.02) -- suspended: does not count
  end
  eq(corowatch.resume(co), false)
end)

test("an error of the coroutine's own is passed on", function()
  local co = corowatch.watch(coroutine.create(function() error({ 42 }) end), 1)
  local ok, e = corowatch.resume(co)
  eq(ok, false) eq(e[1], 42)
  eq(corowatch.status(co), "dead")
end)

test("warn, then kill; the callback runs on the coroutine", function()
  local seen, where = {}, {}
  local co
  co = corowatch.watch(coroutine.create(LOOP), 0.08, 0.04, function(what)
    seen[#seen + 1] = what
    where[#where + 1] = coroutine.running()
  end)
  matches(select(2, corowatch.resume(co)), "running time of 0.08 seconds")
  eq(table.concat(seen, " "), "warn kill")
  eq(where[1], co) eq(where[2], co)
end)

test("a truthy answer to warn starts both limits afresh", function()
  local warnings = 0
  local co = corowatch.watch(coroutine.create(LOOP), 0.08, 0.04, function(what)
    if what == "warn" then warnings = warnings + 1 return warnings < 4 end
  end)
  local t = corowatch.gettime()
  eq(corowatch.resume(co), false)
  eq(warnings, 4)
  if corowatch.gettime() - t < 3 * 0.04 + 0.08 - 0.01 then error("killed early") end
end)

test("warn only, once for each resume", function()
  local warnings = 0
  local co = corowatch.watch(coroutine.create(function()
    for i = 1, 2 do spin(0.15) corowatch.yield() end
  end), nil, 0.03, function() warnings = warnings + 1 end)
  for i = 1, 2 do eq(corowatch.resume(co), true) eq(warnings, i) end
end)

test("an error in the callback is the coroutine's", function()
  local co = corowatch.watch(coroutine.create(LOOP), nil, 0.03, function() error("from cb", 0) end)
  local ok, e = corowatch.resume(co)
  eq(ok, false) matches(e, "from cb")
end)

test("children inherit the watch of the running coroutine", function()
  local child
  local parent = corowatch.watch(coroutine.create(function()
    child = corowatch.create(LOOP)
    return corowatch.resume(child)
  end), 0.05)
  corowatch.resume(parent)
  eq(corowatch.status(child), "dead")
  raises("already is one", corowatch.watch, child, 1)
end)

test("the time of a child counts for its parent", function()
  local after = false
  local function body()
    coroutine.resume(coroutine.create(function() spin(0.2) end))
    for i = 1, 1e7 do end
    after = true
  end
  if jit then jit.off(body) end
  local parent = corowatch.watch(coroutine.create(body), 0.05)
  eq(corowatch.resume(parent), false)
  eq(after, false)
end)

test("wrapf and a watched wrap return the results of resume", function()
  local f = corowatch.wrapf(function(...) local x = corowatch.yield(...) return x end, 1)
  local ok, a, b = f(1, 2)
  eq(ok, true) eq(a, 1) eq(b, 2)
  local ok2, c = f("x")
  eq(ok2, true) eq(c, "x")
  local ok3, e = corowatch.wrapf(LOOP, 0.05)()
  eq(ok3, false) matches(e, EXCEEDED)
  -- not watched: as coroutine.wrap
  eq(corowatch.wrap(function() return 7 end)(), 7)
  -- inside a watched one: as wrapf
  local got
  corowatch.resume(corowatch.watch(coroutine.create(function()
    got = { corowatch.wrap(function() return 8 end)() }
  end), 1))
  eq(got[1], true) eq(got[2], 8)
end)

test("arguments are checked", function()
  local co = coroutine.create(function() end)
  do
    raises("Either kill limit or warn limit must be provided", corowatch.watch, co)
    raises("callback function must be provided", corowatch.watch, co, 2, 1)
    raises("warnlimit must be smaller", corowatch.watch, co, 1, 1, print)
    raises("warnlimit must be smaller", corowatch.watch, co, 1, 2, print)
    raises("number of seconds", corowatch.watch, co, -1)
    raises("number of seconds", corowatch.watch, co, 0 / 0)
    raises("number of seconds", corowatch.watch, co, math.huge)
    raises("number of seconds", corowatch.watch, co, "1")
    raises("Expected thread, got string", corowatch.watch, "x", 1)
    raises("hookcount", corowatch.watch, co, 1, nil, nil, 0)
    corowatch.watch(co, 1)
    raises("there already is one", corowatch.watch, co, 1)
  end
  raises("coroutine expected", corowatch.resume, 1)
end)

test("the running coroutine can watch itself, from its next resume on", function()
  local co = coroutine.create(function()
    corowatch.watch(nil, 0.05)
    spin(0.1)
    corowatch.yield("still here")
    LOOP()
  end)
  local ok, v = corowatch.resume(co)
  eq(ok, true) eq(v, "still here")
  local ok2, e = corowatch.resume(co)
  eq(ok2, false) matches(e, EXCEEDED)
end)

test("sethook refuses on a watched coroutine", function()
  local co = corowatch.watch(coroutine.create(function()
    return pcall(corowatch.sethook, function() end, "l")
  end), 1)
  raises("corowatch is watching", corowatch.sethook, co, function() end, "l")
  raises("corowatch is watching", corowatch.sethook, co)
  local _, ok, e = corowatch.resume(co)
  eq(ok, false) matches(e, "corowatch is watching")
  -- not watched: the real one
  local n = 0
  local other = coroutine.create(function() local x = 1 x = 2 end)
  corowatch.sethook(other, function() n = n + 1 end, "", 1)
  coroutine.resume(other)
  corowatch.sethook(other)
  if not jit and n == 0 then error("hook not called") end
end)

test("export", function()
  local t = corowatch.export()
  for _, name in ipairs { "create", "wrap", "wrapf", "resume", "yield", "status", "running", "watch", "gettime" } do
    eq(type(t[name]), "function", name)
  end
  local env = { coroutine = { resume = 1 }, debug = { sethook = 2 } }
  eq(corowatch.export(env), env)
  eq(env.coroutine.resume, corowatch.resume)
  eq(env.debug.sethook, corowatch.sethook)
  eq(env.resume, nil)
  eq(env.corowatch, nil)
  raises("Expected table", corowatch.export, 1)
end)

test("a clock of the user's is followed", function()
  local now = 0
  local ours = corowatch.gettime
  corowatch.gettime = function() return now end
  local co = corowatch.watch(coroutine.create(function()
    for i = 1, 100 do
      now = now + 1
      for _ = 1, 200 do end
      corowatch.yield(i)
    end
  end), 5, nil, nil, 10)
  local fast = corowatch.watch(coroutine.create(function()
    while true do now = now + 1 end
  end), 50, 20, function(what) return what == "warn" and now < 200 end, 10)
  if jit then jit.off(true, true) end
  for i = 1, 100 do eq(corowatch.resume(co), true, "resume " .. i) end
  local ok, e = corowatch.resume(fast)
  eq(ok, false)
  matches(e, "running time of 50 seconds")
  corowatch.gettime = ours
end)

test("the default clock tells the time of day", function()
  package.loaded.corowatch = nil
  eq(require "corowatch", corowatch, "the module required again")
  local d = math.abs(corowatch.gettime() - os.time())
  if d > 2 then error("off by " .. d) end
end)

test("watches do not keep coroutines, and leave nothing behind", function()
  collectgarbage() collectgarbage()
  local before = collectgarbage "count"
  for i = 1, 20000 do
    local co = corowatch.watch(coroutine.create(function() coroutine.yield() end), 10)
    corowatch.resume(co)
  end
  collectgarbage() collectgarbage()
  local grown = collectgarbage "count" - before
  if grown > 500 then error("grown by " .. grown .. " KiB") end
end)

test("the main state accepts a watch and passes it on", function()
  corowatch.watch(coroutine.running(), 0.05)
  spin(0.15) -- never times out itself
  local co = corowatch.create(LOOP)
  local ok, e = corowatch.resume(co)
  eq(ok, false) matches(e, EXCEEDED)
end)

print(("corowatch: %d tests, %d failed (%s)"):format(count, failures, jit and jit.version or _VERSION))
os.exit(failures == 0 and 0 or 1)
