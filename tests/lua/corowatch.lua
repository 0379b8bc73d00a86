-- corowatch: everything that one OS thread can see; clocks of the user's are in corowatch_clock.lua. Run as: INTERPRETER tests/lua/corowatch.lua, with LUA_PATH and LUA_CPATH set.

local corowatch = require "corowatch"

local check = require "support.check"
local test, eq, matches = check.test, check.equal, check.matches

local function raises(pattern, f, ...)
  local ok, e = pcall(f, ...)
  eq(ok, false)
  matches(e, pattern)
end

local function LOOP()
  while true do end
end

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
  -- Less than all of them take together. Under load one alone may take as long as that, and is killed: then the next try tells.
  local LIMIT = 0.6
  local function try()
    local co = corowatch.watch(coroutine.create(function()
      for i = 1, 25 do spin(0.03) corowatch.yield(i) end
      LOOP()
    end), LIMIT)
    for i = 1, 25 do
      local start = corowatch.gettime()
      local ok, v = corowatch.resume(co)
      if not ok then
        local took = corowatch.gettime() - start
        if took < LIMIT then error(("killed after %.3f s"):format(took)) end
        return false
      end
      eq(v, i)
      spin(0.005) -- suspended: does not count
    end
    eq(corowatch.resume(co), false)
    return true
  end
  local tries = 0
  repeat tries = tries + 1 until tries > 20 or try()
  eq(tries <= 20, true, "this machine is too slow")
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

test("the message tells the place and the limit of each watch", function()
  local function kill(limit)
    local line = debug.getinfo(1, "l").currentline + 1
    local co = corowatch.watch(coroutine.create(LOOP), limit)
    return select(2, corowatch.resume(co)), line
  end
  local first, line = kill(0.02)
  local other = coroutine.create(LOOP)
  local there = debug.getinfo(1, "l").currentline + 1
  corowatch.watch(other, 0.04)
  local second = select(2, corowatch.resume(other))
  local third = kill(0.03)
  matches(first, "of 0.02 seconds.-\nstack traceback:\n[^\n]*corowatch.lua:" .. line .. ":")
  matches(second, "of 0.04 seconds.-\nstack traceback:\n[^\n]*corowatch.lua:" .. there .. ":")
  matches(third, "of 0.03 seconds.-\nstack traceback:\n[^\n]*corowatch.lua:" .. line .. ":")
  -- What a watched coroutine makes: where it was made.
  local made, child
  corowatch.resume(corowatch.watch(coroutine.create(function()
    child = corowatch.create(LOOP) made = debug.getinfo(1, "l").currentline
  end), 0.05))
  second = select(2, corowatch.resume(child))
  matches(second, "\nstack traceback:\n[^\n]*corowatch.lua:" .. made .. ":")
  -- From deep within.
  local function deep(n)
    if n == 0 then return corowatch.watch(coroutine.create(LOOP), 0.02) end
    local co = deep(n - 1)
    return co
  end
  matches(select(2, corowatch.resume(deep(100))), "\nstack traceback:\n.*\n%s*%.%.%.")
end)

test("whole numbers and floats are told apart", function()
  for _, limit in ipairs { 0, 0.0, 1 / 64 } do
    local co = corowatch.watch(coroutine.create(LOOP), limit)
    local e = select(2, corowatch.resume(co))
    if not e:find("running time of " .. tostring(limit) .. " seconds", 1, true) then error(e) end
  end
end)

test("any number of values goes through", function()
  local unpack = table.unpack or unpack
  local co = corowatch.watch(coroutine.create(function(...)
    local t = { n = select("#", ...), ... }
    while true do t = (function(...) return { n = select("#", ...), ... } end)(corowatch.yield(unpack(t, 1, t.n))) end
  end), 5)
  local f = corowatch.wrapf(function(...)
    local t = { n = select("#", ...), ... }
    while true do t = (function(...) return { n = select("#", ...), ... } end)(corowatch.yield(unpack(t, 1, t.n))) end
  end, 5)
  for _, n in ipairs { 0, 1, 2, 17, 18, 19, 20, 21, 40, 100, 150 } do
    local t = {}
    for i = 1, n do t[i] = i end
    for _, r in ipairs { { corowatch.resume(co, unpack(t)) }, { f(unpack(t)) } } do
      eq(#r, n + 1) eq(r[1], true) eq(r[n + 1], n > 0 and n or true)
    end
  end
  eq(corowatch.status(co), "suspended")
end)

test("a coroutine that cannot be resumed says why", function()
  -- In the words of coroutine.resume: 5.1 and LuaJIT have others.
  local old = _VERSION == "Lua 5.1"
  local running = old and "cannot resume running coroutine" or "cannot resume non%-suspended coroutine"
  local normal = old and not jit and "cannot resume normal coroutine" or running
  local co
  co = corowatch.watch(coroutine.create(function()
    return corowatch.resume(co)
  end), 5)
  local _, ok, e, more = corowatch.resume(co)
  eq(ok, false) matches(e, running) eq(more, nil)
  local inner = corowatch.create(function(outer) return corowatch.resume(outer, 1, 2) end)
  local outer = coroutine.create(function(outer) return corowatch.resume(inner, outer) end)
  local _, ok1, ok2, e2 = corowatch.resume(outer, outer)
  eq(ok1, true) eq(ok2, false) matches(e2, normal)
  local raised = coroutine.create(function() error("x", 0) end)
  corowatch.resume(raised)
  local dead = { co, inner, outer, raised, coroutine.create(function() end) }
  coroutine.resume(dead[5])
  for i, one in ipairs(dead) do
    for _, r in ipairs { { corowatch.resume(one) }, { corowatch.resume(one, 1, 2) }, { corowatch.resume(one) } } do
      eq(r[1], false, i) eq(#r, 2, i) matches(r[2], "cannot resume dead coroutine")
    end
  end
  local main = coroutine.running()
  if type(main) == "thread" then
    matches(select(2, corowatch.resume(main, 1, 2)), "cannot resume non%-suspended coroutine")
  end
end)

test("a killed coroutine takes any number of further resumes", function()
  local bodies = { function() pcall(LOOP) corowatch.yield() end, LOOP }
  for _, body in ipairs(bodies) do
    local co = corowatch.watch(coroutine.create(body), 0.02)
    local _, e = corowatch.resume(co)
    for i = 1, 3e5 do
      local ok, again = corowatch.resume(co, 1, 2, 3, 4)
      if ok or i % 1e5 == 0 and again ~= e then error("resumed: " .. tostring(again)) end
    end
  end
end)

test("the default clock tells the time of day", function()
  package.loaded.corowatch = nil
  eq(require "corowatch", corowatch, "the module required again")
  local d = math.abs(corowatch.gettime() - os.time())
  if d > 2 then error("off by " .. d) end
end)

test("the error of a kill is its message", function()
  local co = corowatch.watch(coroutine.create(LOOP), 0.05)
  local _, e = corowatch.resume(co)
  matches(e, EXCEEDED)
  if not coroutine.close then return end
  local ok, last = coroutine.close(co)
  eq(ok, false) eq(last, e)
  local body = load("local seen = ... return function() " ..
    "local x <close> = setmetatable({}, { __close = function(_, e) seen[1] = e end }) while true do end end")
  local seen = {}
  co = corowatch.watch(coroutine.create(body(seen)), 0.05)
  local _, e2 = corowatch.resume(co)
  ok, last = coroutine.close(co)
  eq(ok, false) eq(last, e2) eq(seen[1], e2)
end)

test("callbacks that refer to their coroutine go with it", function()
  local leash = require "leash"
  local big = 1000
  local function measure(name, n, make)
    collectgarbage() collectgarbage()
    local before = collectgarbage "count"
    for _ = 1, n do make() end
    collectgarbage() collectgarbage()
    local grown = collectgarbage "count" - before
    if grown > n * 2 then error(name .. ": grown by " .. grown .. " KiB") end
  end
  local function watched(body, limit)
    local co
    local ballast = ("x"):rep(big):rep(4) .. tostring({})
    co = corowatch.watch(coroutine.create(body), limit or 10, nil, function() return co, ballast end)
    return co
  end
  measure("returned", 500, function() corowatch.resume(watched(function() return 1 end)) end)
  measure("yielded", 500, function()
    local co = watched(function() corowatch.yield() end)
    corowatch.resume(co) corowatch.resume(co)
  end)
  measure("failed", 500, function() corowatch.resume(watched(function() error "x" end)) end)
  measure("killed", 500, function() corowatch.resume(watched(LOOP, 0)) end)
  local function warded(body)
    local co
    local ballast = ("x"):rep(big):rep(4) .. tostring({})
    co = coroutine.create(body)
    leash.watch(co, { timeout = 10, warn = 9, on_warn = function() return co, ballast end })
    return co
  end
  measure("ward returned", 500, function() leash.resume(warded(function() end)) end)
  measure("ward failed", 500, function() leash.resume(warded(function() error "x" end)) end)
  -- One that goes on keeps its own.
  local calls = 0
  local co
  co = corowatch.watch(coroutine.create(function()
    pcall(corowatch.resume, co)
    corowatch.yield()
    coroutine.wrap(function() corowatch.resume(co) end)()
    LOOP()
  end), 0.08, 0.04, function() calls = calls + 1 return nil, co end)
  eq(corowatch.resume(co), true)
  eq(corowatch.resume(co), false)
  eq(calls, 2)
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

check.finish()
