-- Who is outside of whom, where calls with limits have been suspended in between: a kill ends the outermost call of all, a limit the call that set it.

local leash = require "leash"
local check = require "support.check"
local test, equal, ok = check.test, check.equal, check.ok
local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield

test("a kill ends the outermost of calls inside each other", function()
  local inner
  local fine, err = leash.call(100, function()
    inner = { leash.call(100, function()
      leash.kill(leash.state_id())
      for _ = 1, 1e7 do end
    end) }
  end)
  equal(fine, false)
  equal(leash.reason(err), "kill")
  equal(inner, nil)
end)

if check.engine == "lua51" then -- it cannot yield across pcall, nor across leash.call
  check.finish()
  return
end

local LONG = 100

-- The open calls are looked at when one begins or ends: then those that are asleep are put aside.
local function look()
  for _ = 1, 3 do leash.call(LONG, function() end) end
end

-- A call in `outer`, inside of which `inner` is resumed, in a call of its own. Both have been suspended before; `act` runs in the inner one.
-- What became of each: nothing, if it was not reached.
local function suspended_twice(outer_limit, inner_limit, act)
  local became = {}
  local inner = create(function()
    became.inner = { leash.call(inner_limit, function()
      yield()
      act()
      return "went on"
    end) }
  end)
  local outer = create(function()
    became.outer = { leash.call(outer_limit, function()
      assert(resume(inner))
      look()
      yield()
      assert(resume(inner))
      return "went on"
    end) }
  end)
  assert(resume(outer))
  look()
  assert(resume(outer))
  return became
end

-- The same with calls that begin the other way round: the inner coroutine's is the older one.
local function older_inside(outer_limit, inner_limit, act)
  local became = {}
  local inner = create(function()
    became.inner = { leash.call(inner_limit, function()
      yield()
      act()
      return "went on"
    end) }
  end)
  assert(resume(inner))
  look()
  local outer = create(function()
    became.outer = { leash.call(outer_limit, function()
      yield()
      assert(resume(inner))
      return "went on"
    end) }
  end)
  assert(resume(outer))
  look()
  assert(resume(outer))
  return became
end

local function kill()
  leash.kill(leash.state_id())
  for _ = 1, 1e7 do end
end

local function endless()
  while true do end
end

for name, run in pairs { ["suspended twice"] = suspended_twice, ["the inner one is older"] = older_inside } do
  test(name .. ": a kill ends the outermost call", function()
    local became = run(LONG, LONG, kill)
    equal(became.inner, nil)
    equal(became.outer[1], false)
    equal(leash.reason(became.outer[2]), "kill")
  end)

  test(name .. ": the limit of the outer call ends that", function()
    local became = run(0.4, LONG, endless) -- time enough to get there
    equal(became.inner, nil)
    equal(leash.reason(became.outer[2]), "timeout")
  end)

  test(name .. ": the limit of the inner call ends that", function()
    local became = run(LONG, 0.4, endless)
    equal(leash.reason(became.inner[2]), "timeout")
    ok(became.outer[1], became.outer[2])
    equal(became.outer[2], "went on")
  end)

  test(name .. ": if both are over, the outer one ends", function()
    local became = run(0.4, 0.4, function() os.execute "sleep 1" end) -- nothing reaches into that
    equal(became.inner, nil)
    equal(leash.reason(became.outer[2]), "timeout")
  end)
end

check.finish()
