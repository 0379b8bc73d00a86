-- corowatch: a clock of the user's in the place of `gettime`, in the module or in an exported table.

local corowatch = require "corowatch"
local check = require "support.check"
local test, eq, contains = check.test, check.equal, check.contains

local function spin(seconds)
  local t = os.clock()
  while os.clock() - t < seconds do end
end

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
  for i = 1, 100 do eq(corowatch.resume(co), true, "resume " .. i) end
  local ok, e = corowatch.resume(fast)
  eq(ok, false)
  contains(e, "running time of 50 seconds")
  corowatch.gettime = ours
end)

-- What of a coroutine body that takes one unit of this clock each time the clock is asked is left after a limit of 50.
local function ticking()
  local now = 0
  return function() now = now + 1 return now end
end

local function follows(resume)
  local ran = 0
  local function body()
    while true do ran = ran + 1 end
  end
  return corowatch.watch(coroutine.create(body), 50, nil, nil, 100), function(co)
    local ok, e = resume(co)
    eq(ok, false)
    contains(e, "running time of 50 seconds")
    if ran > 50 * 100 then error("stopped late, after " .. ran) end
  end
end

test("a clock that is put into place after watch is followed by the next resume", function()
  local ours = corowatch.gettime
  local co, look = follows(corowatch.resume)
  corowatch.gettime = ticking()
  look(co)
  corowatch.gettime = ours
  eq(corowatch.gettime, ours)
  -- And back: no limit is reached by our clock.
  local other = corowatch.watch(coroutine.create(function()
    for i = 1, 1e6 do end
    return "done"
  end), 50, nil, nil, 1)
  eq(select(2, corowatch.resume(other)), "done")
end)

test("a clock in an exported table is followed, whatever that table is", function()
  local globals = { coroutine = {}, debug = {} }
  local tables = {
    corowatch.export(),
    corowatch.export({}),
    corowatch.export(setmetatable({}, { __index = { other = 1 } })),
    corowatch.export(globals) and globals.coroutine,
  }
  for i, t in ipairs(tables) do
    local ours = t.gettime
    eq(ours, corowatch.gettime)
    local co, look = follows(t.resume)
    t.gettime = ticking()
    look(co)
    t.gettime = ours
    t.extra = i
    eq(rawget(t, "extra"), i)
  end
  -- Exported again, and with a clock of the user's in the module.
  local ours, mine = corowatch.gettime, ticking()
  corowatch.gettime = mine
  eq(corowatch.export(tables[1]).gettime, mine)
  corowatch.gettime = ours
  eq(corowatch.export(tables[1]).gettime, ours)
end)

-- Calls f while corowatch goes by a clock of the user's.
local function by_users_clock(f)
  local ours = corowatch.gettime
  corowatch.gettime = function() return os.clock() end
  local ok, e = pcall(f)
  corowatch.gettime = ours
  if not ok then error(e, 0) end
end

-- Resumes a coroutine with this body by a clock of the user's. It has to be killed, and soon.
local function dies(body, limit)
  by_users_clock(function()
    local co = corowatch.watch(coroutine.create(body), limit or 0.05)
    local t = os.clock()
    local ok, e = corowatch.resume(co)
    eq(ok, false, "resume")
    contains(e, "running time of ")
    eq(corowatch.status(co), "dead")
    if os.clock() - t > 2 then error("late: " .. os.clock() - t) end
  end)
end

local function compute()
  local x = 0
  for i = 1, 2e9 do x = x + i % 3 end
  return x
end

test("by a clock of the user's, compiled code is stopped", function()
  dies(compute)
  if not jit then return end
  local was = jit.status()
  eq(was, true, "compiler")
  by_users_clock(function()
    local seen
    local bodies = {
      function() seen = jit.status() end,
      function() seen = jit.status() error("own") end,
      function() seen = jit.status() corowatch.yield() end,
      function() seen = jit.status() corowatch.resume(corowatch.watch(coroutine.create(function() end), 1)) seen = seen or jit.status() end,
      function() seen = jit.status() spin(10) end,
    }
    for i, body in ipairs(bodies) do
      seen = nil
      corowatch.resume(corowatch.watch(coroutine.create(body), 0.05))
      eq(seen, false, "inside, body " .. i)
      eq(jit.status(), true, "after body " .. i)
    end
    jit.off()
    corowatch.resume(corowatch.watch(coroutine.create(bodies[1]), 0.05))
    eq(jit.status(), false, "the script's own wish")
    jit.on()
    local dropped = corowatch.watch(coroutine.create(bodies[3]), 0.05)
    corowatch.resume(dropped)
    dropped = nil
    collectgarbage()
    eq(jit.status(), true, "after a coroutine was dropped")
  end)
end)

test("by a clock of the user's, a watch goes on after a call with limits", function()
  local leash = require "leash"
  dies(function() leash.call(0.02, spin, 1) spin(10) end, 0.1)
  dies(function() leash.call({ instructions = 1e9 }, function() end) spin(10) end)
  dies(function() leash.call({ instructions = 1e4 }, spin, 10) spin(10) end)
  dies(function() leash.call({ memory = 1e9 }, function() end) spin(10) end)
  dies(function() leash.call({ instructions = 1e12 }, spin, 10) end)
  -- Nor is a call that begins and ends again and again a way to be left alone.
  dies(function() while true do leash.call(0, spin, 1) end end)
end)

test("by a clock of the user's, instructions are counted in what is watched", function()
  local leash = require "leash"
  by_users_clock(function()
    local function body()
      while true do
        for _ = 1, 200 do end
        corowatch.yield()
      end
    end
    local inner = corowatch.watch(coroutine.create(body), 5)
    local n = 0
    local ok, stop = leash.call({ instructions = 20000 }, function()
      while true do n = n + 1 corowatch.resume(inner) end
    end)
    eq(ok, false, "the call")
    eq(leash.reason(stop), "instructions")
    if n < 30 or n > 200 then error("resumes: " .. n) end
  end)
end)

test("by a clock of the user's, a watch goes on after a resume inside", function()
  dies(function() corowatch.resume(corowatch.create(function() end)) spin(10) end)
  dies(function() corowatch.resume(coroutine.create(function() end)) spin(10) end)
  dies(function() coroutine.wrap(function() spin(0.02) end)() spin(10) end)
  dies(function() corowatch.resume(corowatch.watch(coroutine.create(spin), 0.01), 10) spin(10) end, 0.1)
  dies(function() while true do corowatch.resume(corowatch.create(function() end)) end end)
end)

test("by a clock of the user's, a resume that fails changes nothing", function()
  dies(function()
    local me = coroutine.running()
    for _ = 1, 400 do spin(0.005) corowatch.resume(me) end
  end)
  dies(function()
    local me = coroutine.running()
    coroutine.wrap(function() corowatch.resume(me) end)()
    spin(10)
  end)
  dies(function()
    local me = coroutine.running()
    for _ = 1, 400 do
      spin(0.005)
      corowatch.resume(coroutine.create(function() corowatch.resume(me, 1, 2) end))
    end
  end)
end)

test("what leash.watch watches does not follow a clock of the user's", function()
  local leash = require "leash"
  by_users_clock(function()
    corowatch.gettime = function() return 0 end
    local co = leash.watch(coroutine.create(function() spin(10) end), { timeout = 0.05 })
    local t = os.clock()
    local ok, stop = corowatch.resume(co)
    eq(ok, false)
    eq(leash.reason(stop), "timeout")
    if os.clock() - t > 2 then error "late" end
  end)
end)

check.finish()
