-- leash.watch, create, resume and wrap: coroutines that must yield in time.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_watch.lua
--
-- Each way to resume is tried: leash.resume and leash.wrap count exactly; for the stock functions the timer thread looks every 10 ms. A stop that
-- does not come hangs: whoever runs this has a time limit.

-- A debugger's hook, say, that was there before.
local function earlier() end
debug.sethook(earlier, "l")
local check = require "support.check"
local leash = require "leash"
local hook_after_load = debug.gethook()
debug.sethook()
local calls = require "support.calls"
local corowatch = require "corowatch"
local equal, ok, raises, contains = check.equal, check.ok, check.raises, check.contains
local SHORT, LONG, spin, stopped, clean_test = calls.SHORT, calls.LONG, calls.spin, calls.stopped, calls.clean_test

local function catch() while true do pcall(error) end end

-- How a coroutine is resumed: each is tried.
local ways = {
  leash = leash.resume,
  corowatch = corowatch.resume,
  stock = coroutine.resume,
  stock_wrap = function(co, ...) return coroutine.resume(coroutine.create(function(...) return coroutine.resume(co, ...) end), ...) end,
}

local function each_way(name, f)
  for way, resume in pairs(ways) do
    clean_test(name .. " (" .. way .. ")", function()
      f(way == "stock_wrap" and function(...)
        -- Resumed by a coroutine that is resumed: take the inner results.
        local function inner(fine, ...)
          if not fine then error((...)) end
          return ...
        end
        return inner(resume(...))
      end or resume)
    end)
  end
end

local function waste(seconds)
  local start = corowatch.gettime()
  while corowatch.gettime() - start < seconds do end
end

check.test("loading leaves a hook alone", function() equal(hook_after_load, earlier) end)

-- What is taken ----------------------------------------------------------------------------------------------------------------------

clean_test("what are no limits is refused", function()
  local co = leash.create(spin)
  local function refused(limits, why)
    raises("bad argument #2 to 'watch' (" .. why .. ")", function() leash.watch(co, limits) end)
  end
  refused("1", "seconds or a table of limits expected, got string")
  refused(true, "seconds or a table of limits expected, got boolean")
  raises("bad argument #1 to 'watch'", function() leash.watch("1") end)
  raises("bad argument #2 to 'watch' (value expected)", function() leash.watch(co) end)
  for _, key in ipairs { "cpu", "memory", "instructions", "sigint", "tiemout" } do
    refused({ timeout = 1, [key] = 1 }, "'" .. key .. "' is no limit of a watch, which takes timeout, warn and on_warn")
  end
  refused({ 1 }, "unknown limit: a number as key")
  refused(-1, "timeout is negative")
  refused({ timeout = 0 / 0 }, "timeout is not a number (NaN)")
  refused({ warn = "1", on_warn = print }, "warn: number expected, got string")
  refused({ timeout = 1, warn = 0.5 }, "warn needs on_warn")
  refused({ timeout = 1, on_warn = print }, "on_warn needs warn")
  refused({ timeout = 1, warn = 1, on_warn = print }, "warn has to be less than timeout")
  refused({ timeout = 1, warn = 0.5, on_warn = 1 }, "on_warn: function expected, got number")
end)

clean_test("it returns the coroutine that was given", function()
  local co = leash.create(spin)
  equal(leash.watch(co, 1), co)
  equal(leash.watch(co, nil), co)
  equal(select("#", leash.watch(nil)), 0)
end)

clean_test("limits that are never reached", function()
  for _, limit in ipairs { math.huge, 1e300, 1e18 } do
    local co = leash.watch(leash.create(function() return 7 end), limit)
    equal(select(2, leash.resume(co)), 7)
  end
  equal(select(2, leash.resume(leash.watch(leash.create(function() return 7 end), {}))), 7)
end)

-- create, resume, wrap ---------------------------------------------------------------------------------------------------------------

clean_test("create, resume and wrap are those of coroutine", function()
  local function body(...)
    local n = 0
    while true do
      n = n + select("#", ...) + select("#", coroutine.yield(n, ...))
    end
  end
  local messages = {}
  for _, lib in ipairs { leash, coroutine } do
    local co = lib.create(body)
    equal(coroutine.status(co), "suspended")
    equal(select("#", lib.resume(co, 1, 2, 3)), 5)
    equal(select(2, lib.resume(co, 1)), 4)
    local f = lib.wrap(body)
    equal(select("#", f(1, nil, nil)), 4)
    local failing = lib.wrap(function() error("oh", 0) end)
    contains(raises("oh", function() return (failing()) end), "leash_watch.lua:")
    raises("cannot resume dead coroutine", failing)
    local object = {}
    local fine, err = pcall(lib.wrap(function() error(object) end))
    equal(fine, false)
    equal(err, object)
    raises("function expected", lib.create, 1)
    raises("function expected", lib.wrap, nil)
    local fine, message = lib.resume(co, lib.resume(co))
    equal(fine, true)
    local running
    running = lib.create(function() return lib.resume(running) end)
    local _, fine, message = lib.resume(running)
    equal(fine, false)
    messages[#messages + 1] = message
    equal(select(2, lib.resume(running)), "cannot resume dead coroutine")
    local outer
    outer = lib.create(function() return select(2, lib.resume(lib.create(function() return lib.resume(outer) end))) end)
    local _, fine, message = lib.resume(outer)
    equal(fine, false)
    messages[#messages + 1] = message
  end
  contains(messages[1], "cannot resume")
  equal(messages[1], messages[3])
  equal(messages[2], messages[4])
end)

if check.engine == "lua54" or check.engine == "lua55" then
  clean_test("wrap closes the variables of a coroutine that fails", function()
    for _, lib in ipairs { leash, coroutine } do
      local closed = 0
      local new = assert(load([[
        local closes = ...
        return function()
          local x <close> = closes
          error("oh", 0)
        end]]))
      local closes = setmetatable({}, { __close = function(_, e) closed = closed + 1 error(e .. "!", 0) end })
      raises("oh!", lib.wrap(new(closes)))
      equal(closed, 1)
    end
  end)
end

-- The end ----------------------------------------------------------------------------------------------------------------------------

each_way("a coroutine that does not yield is ended, with a stop", function(resume)
  local co = leash.watch(coroutine.create(catch), SHORT)
  local err = stopped("timeout", resume(co))
  contains(err.message, "timeout of 20ms reached after 0.")
  contains(err.traceback, "leash_watch.lua:")
  ok(err.elapsed >= SHORT)
  equal(coroutine.status(co), "dead")
  equal(select(2, resume(co)), "cannot resume dead coroutine")
  equal(select(2, leash.resume(co)), "cannot resume dead coroutine")
end)

each_way("a timeout of zero", function(resume)
  stopped("timeout", resume(leash.watch(coroutine.create(spin), 0)))
end)

each_way("the one that watches itself", function(resume)
  stopped("timeout", resume(coroutine.create(function()
    leash.watch(SHORT)
    catch()
  end)))
  stopped("timeout", resume(coroutine.create(function()
    leash.watch(nil, { timeout = SHORT })
    catch()
  end)))
end)

-- On a busy machine the process may stand still for longer than the limit: a stop is fine, if it was not too early.
local function in_time(limit, resume, co)
  local start = corowatch.gettime()
  local fine, value = resume(co)
  local took = corowatch.gettime() - start
  ok(fine or leash.reason(value) == "timeout" and took >= limit, ("ended after %f s: %s"):format(took, tostring(value)))
  return fine, value
end

each_way("time counts from each resume", function(resume)
  local co = leash.watch(coroutine.create(function()
    for _ = 1, 8 do
      waste(0.05)
      coroutine.yield()
    end
    return "end"
  end), 0.3)
  local fine, value
  repeat
    fine, value = in_time(0.3, resume, co)
    waste(0.01)
  until coroutine.status(co) == "dead"
  equal(value, fine and "end" or value)
end)

each_way("time that it is suspended does not count", function(resume)
  local co = leash.watch(coroutine.create(function()
    coroutine.yield()
    return "alive"
  end), 0.05)
  ok(resume(co))
  waste(0.1)
  equal(select(2, resume(co)), "alive")
end)

each_way("a generator that runs all the time, and yields", function(resume)
  local co = leash.watch(coroutine.create(function()
    while true do
      for _ = 1, 2000 do end
      coroutine.yield()
    end
  end), 0.25)
  local start = os.clock()
  while os.clock() - start < 0.6 and in_time(0.25, resume, co) do end
end)

each_way("what it resumes goes with it", function(resume)
  local inner
  local outer = leash.watch(coroutine.create(function()
    while true do
      inner = coroutine.create(catch)
      coroutine.resume(inner)
    end
  end), SHORT)
  stopped("timeout", resume(outer))
  equal(coroutine.status(inner), "dead")
  -- Twenty deep, by wrap.
  local function deep(n)
    if n == 0 then catch() end
    while true do pcall(coroutine.wrap(deep), n - 1) end
  end
  stopped("timeout", resume(leash.watch(coroutine.create(deep), SHORT), 20))
end)

each_way("an inner one that is due ends alone", function(resume)
  local outer = leash.watch(coroutine.create(function()
    local seen = {}
    for i = 1, 3 do
      local inner = leash.watch(coroutine.create(catch), SHORT)
      local fine, err = resume(inner)
      seen[i] = not fine and leash.reason(err)
    end
    return table.concat(seen, " ")
  end), LONG)
  equal(select(2, resume(outer)), "timeout timeout timeout")
end)

each_way("an outer one that is due first ends it all", function(resume)
  local back = false
  local outer = leash.watch(coroutine.create(function()
    while true do
      resume(leash.watch(coroutine.create(catch), LONG))
      back = true
    end
  end), SHORT)
  stopped("timeout", resume(outer))
  equal(back, false)
end)

each_way("calls with limits inside do not save it", function(resume)
  for _, limit in ipairs { 0, 0.001, LONG } do
    stopped("timeout", resume(leash.watch(coroutine.create(function()
      while true do leash.call(limit, catch) end
    end), SHORT)))
  end
end)

each_way("a call with limits around it ends as ever", function(resume)
  stopped("timeout", leash.call(SHORT, function()
    while true do resume(leash.watch(coroutine.create(catch), LONG)) end
  end))
  stopped("timeout", leash.call(0.05, function()
    while true do resume(leash.watch(coroutine.create(catch), 0.005)) end
  end))
  equal(leash.call(LONG, function()
    stopped("timeout", resume(leash.watch(coroutine.create(catch), SHORT)))
  end), true)
end)

each_way("an instruction limit goes on counting", function(resume)
  local fine, err = leash.call({ instructions = 3e7 }, function()
    for _ = 1, 3 do
      stopped("timeout", resume(leash.watch(coroutine.create(catch), SHORT)))
    end
    spin()
  end)
  stopped("instructions", fine, err)
end)

clean_test("leash.wrap raises the stop", function()
  local f = leash.wrap(function() leash.watch(SHORT) catch() end)
  local fine, err = pcall(f)
  stopped("timeout", fine, err)
  raises("cannot resume dead coroutine", f)
end)

clean_test("a message handler that does not end", function()
  for way, resume in pairs(ways) do
    if way ~= "stock_wrap" then
      local fine, err = resume(leash.watch(coroutine.create(function()
        while true do xpcall(spin, catch) end
      end), SHORT))
      stopped("timeout", fine, err)
    end
  end
end)

-- LuaJIT: the stock functions returned a memory error, out of a message handler or where calls are more than 200 deep.
each_way("deep in calls, and inside xpcall", function(resume)
  local function deep(levels)
    if levels > 0 then return 1 + deep(levels - 1) end
    while true do xpcall(spin, catch) end
  end
  for _, levels in ipairs { 0, 300 } do
    local fine, err = resume(leash.watch(leash.create(deep), SHORT), levels)
    stopped("timeout", fine, err)
  end
end)

-- LuaJIT: what such a call caught was what the coroutine returned, as if it had ended well.
each_way("a protected call is the last that it does, or the first", function(resume)
  local bodies = {
    function() return pcall(spin) end,
    function() return xpcall(spin, tostring) end,
    function() return pcall(pcall, pcall, spin) end,
  }
  for _, body in ipairs(bodies) do
    stopped("timeout", resume(leash.watch(coroutine.create(body), SHORT)))
  end
  if check.engine ~= "lua51" then -- a coroutine of 5.1 begins with a Lua function
    stopped("timeout", resume(leash.watch(coroutine.create(pcall), SHORT), spin))
  end
end)

-- LuaJIT: it was taken for one that has a message handler in force, and the resume returned a memory error. (Here each stop is met at a call: of `xpcall`, or inside one.)
each_way("when xpcall is called", function(resume)
  local functions = {}
  for i = 1, 1000 do functions[i] = type end
  local co = coroutine.create(function()
    while true do table.sort(functions, xpcall) end
  end)
  stopped("timeout", resume(leash.watch(co, SHORT)))
end)

-- Beyond the last a C function is not called any more: "C stack overflow". LuaJIT has no such limit.
if not jit then each_way("where C calls are as deep as they may be", function(resume)
  local function deep(levels)
    if levels == 0 then while true do end end
    return (string.gsub("x", "x", function() return deep(levels - 1) end))
  end
  for levels = 170, 230 do
    local co = leash.watch(leash.create(deep), SHORT)
    local fine, err = resume(co, levels)
    if not fine and tostring(err):find("stack overflow", 1, true) then
      ok(levels > 171, "too deep at once")
      break
    end
    stopped("timeout", fine, err)
  end
end) end

clean_test("the collector goes on after a stop", function()
  for _, resume in pairs { leash.resume, coroutine.resume } do
    resume(leash.watch(coroutine.create(catch), SHORT))
    local weak = setmetatable({ {} }, { __mode = "v" })
    local garbage
    for i = 1, 1e6 do garbage = { i } end
    equal(weak[1], nil)
  end
  -- corowatch alone: on LuaJIT an error of ours stops the collector.
  corowatch.resume(corowatch.watch(coroutine.create(catch), SHORT))
  local before = collectgarbage "count"
  for i = 1, 1e6 do local _ = { i } end
  ok(collectgarbage "count" < before + 20000, "the collector does not run")
end)

clean_test("a hook of the user's is there again", function()
  local function hook() end
  debug.sethook(hook, "", 1000000)
  for _, resume in pairs { leash.resume, coroutine.resume } do
    stopped("timeout", resume(leash.watch(coroutine.create(catch), SHORT)))
    -- LuaJIT has one for all coroutines: what was ended may have replaced it, so it is off.
    equal(calls.has_hook(), check.engine ~= "luajit")
    if check.engine ~= "luajit" then equal(debug.gethook(), hook) end
  end
  debug.sethook()
end)

-- Who may change it ------------------------------------------------------------------------------------------------------------------

local OUTSIDE = "only from outside of what is watched"

each_way("a watch is not taken away, nor extended, from inside", function(resume)
  local other = leash.watch(coroutine.create(spin), LONG)
  local co = leash.watch(coroutine.create(function()
    local me = coroutine.running()
    raises(OUTSIDE, leash.watch, nil)
    raises(OUTSIDE, leash.watch, me, nil)
    raises(OUTSIDE, leash.watch, LONG)
    raises(OUTSIDE, leash.watch, 0.0001)
    raises(OUTSIDE, leash.watch, other, nil)
    raises(OUTSIDE, leash.watch, other, math.huge)
    raises(OUTSIDE, coroutine.wrap(function() leash.watch(me, nil) end))
    leash.watch(other, LONG / 2) -- shorter is fine
    catch()
  end), SHORT)
  stopped("timeout", resume(co))
end)

each_way("from outside it is taken away, and changed", function(resume)
  local co = leash.watch(coroutine.create(function() waste(0.05) return "end" end), 0.02)
  leash.watch(co, nil)
  equal(select(2, resume(co)), "end")
  local co = leash.watch(coroutine.create(function() waste(0.05) return "end" end), 0.02)
  leash.watch(co, LONG)
  equal(select(2, resume(co)), "end")
  stopped("timeout", resume(leash.watch(leash.watch(coroutine.create(catch), LONG), SHORT)))
end)

each_way("children that it makes by leash inherit", function(resume)
  local child, wrapped
  local co = leash.watch(coroutine.create(function()
    child, wrapped = leash.create(catch), leash.wrap(catch)
  end), SHORT)
  ok(resume(co))
  stopped("timeout", resume(child))
  stopped("timeout", pcall(wrapped))
  -- And theirs.
  local grandchild
  ok(resume(leash.watch(coroutine.create(function()
    leash.resume(leash.create(function() grandchild = corowatch.create(catch) end))
  end), SHORT)))
  stopped("timeout", resume(grandchild))
end)

clean_test("a watch of the main state is for the coroutines that it makes", function()
  leash.watch(SHORT)
  local co = leash.create(catch)
  waste(0.05)
  leash.watch(nil)
  stopped("timeout", coroutine.resume(co))
  equal(select(2, leash.resume(leash.create(function() waste(0.05) return 7 end))), 7)
end)

clean_test("one watch only: corowatch's or this", function()
  local co = corowatch.watch(corowatch.create(spin), LONG)
  raises("corowatch is watching this coroutine", leash.watch, co, 1)
  local co = leash.watch(leash.create(spin), LONG)
  raises("leash.watch is watching this coroutine", corowatch.watch, co, 1)
end)

-- Warnings ---------------------------------------------------------------------------------------------------------------------------

each_way("on_warn starts the limits afresh, grants time, or lets it end", function(resume)
  for _, answer in ipairs { true, 0.03, false } do
    local infos = {}
    local co = leash.watch(coroutine.create(catch), {
      timeout = 0.04, warn = 0.02,
      on_warn = function(info)
        infos[#infos + 1] = info
        if #infos < 3 then return answer end
      end,
    })
    local err = stopped("timeout", resume(co))
    equal(#infos, answer == true and 3 or 1)
    ok(infos[1].elapsed >= 0.02)
    equal(infos[1].timeout, 0.04)
    if answer == 0.03 then ok(err.elapsed >= 0.07, tostring(err.elapsed)) end
  end
end)

each_way("on_warn runs where the time is spent, once", function(resume)
  local where
  local inner = coroutine.create(function() while not where do end end)
  local co = leash.watch(coroutine.create(function() coroutine.resume(inner) waste(0.05) return 7 end), {
    warn = SHORT, on_warn = function() equal(where, nil) where = coroutine.running() end,
  })
  equal(select(2, resume(co)), 7)
  equal(where, inner)
end)

each_way("an on_warn that does not end is ended by the timeout", function(resume)
  for _, on_warn in ipairs { spin, catch } do
    local co = leash.watch(coroutine.create(spin), { timeout = 0.04, warn = 0.02, on_warn = on_warn })
    local fine, err = resume(co)
    equal(coroutine.status(co), "dead")
    stopped("timeout", fine, err)
  end
end)

each_way("an error in on_warn is one of the coroutine", function(resume)
  local co = leash.watch(coroutine.create(function() return pcall(spin) end), {
    timeout = LONG, warn = SHORT, on_warn = function() error("oh", 0) end,
  })
  local _, fine, message = resume(co)
  equal(fine, false)
  equal(message, "oh")
end)

each_way("on_warn is inherited, and goes with its coroutines", function(resume)
  local weak = setmetatable({}, { __mode = "k" })
  do
    local n = 0
    local function on_warn() n = n + 1 end
    weak[on_warn] = true
    local child
    ok(resume(leash.watch(coroutine.create(function() child = leash.create(catch) end), {
      timeout = 0.04, warn = 0.02, on_warn = on_warn,
    })))
    collectgarbage()
    stopped("timeout", resume(child))
    equal(n, 1)
  end
  -- Not on the stack of this function any more.
  coroutine.wrap(function(...) return ... end)(1, 2, 3, 4, 5, 6, 7, 8)
end)

clean_test("watched coroutines are collected, and so are their functions", function()
  local weak = setmetatable({}, { __mode = "k" })
  local function make()
    for i = 1, 1000 do
      local f = function() return i end
      weak[f] = true
      weak[leash.watch(coroutine.create(spin), { timeout = 1, warn = 0.5, on_warn = f })] = true
    end
  end
  make()
  for _ = 1, 4 do collectgarbage() end
  equal(next(weak), nil)
end)

check.finish()
