-- leash.limits: limits that are read once, for many calls.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/leash_limits.lua

local check = require "support.check"
local leash = require "leash"
local equal, raises, contains = check.equal, check.raises, check.contains
local calls = require "support.calls"
local SHORT, LONG, spin, stopped, clean_test = calls.SHORT, calls.LONG, calls.spin, calls.stopped, calls.clean_test

clean_test("limits that are read once", function()
  local t = { timeout = SHORT, memory = 2 ^ 30 }
  local limits = leash.limits(t)
  t.timeout = nil
  contains(tostring(limits), "timeout ")
  contains(tostring(limits), "memory 1 GiB")
  contains(tostring(leash.limits { timeout = 1, warn = 0.5, on_warn = print, sigint = true }), "warn 500ms, sigint")
  equal(leash.limits(limits), limits)
  for _ = 1, 3 do
    equal(select("#", leash.call(limits, function(...) return ... end, 1, nil, nil)), 4)
    stopped("timeout", leash.call(limits, spin))
  end
  -- Inside each other: the outer one is reached first.
  stopped("timeout", leash.call(limits, leash.call, leash.limits(LONG), spin))
  stopped("memory", leash.call(leash.limits { memory = 2 ^ 20 }, function()
    local all = {}
    for i = 1, math.huge do all[i] = { i } end
  end))
  stopped("instructions", leash.call(leash.limits { instructions = 1e5 }, spin))
  equal(tostring(leash.limits {}), "no limits")
  equal(leash.call(leash.limits(math.huge), function() end), true)
end)

clean_test("limits that are read once, and nowhere else", function()
  local value = leash.call(leash.limits(LONG), function()
    for _ = 1, 100 do collectgarbage() end
    return true
  end)
  equal(value, true)
  for _ = 1, 1000 do equal(leash.call(leash.limits(LONG), leash.limits, LONG), true) end
  collectgarbage()
end)

clean_test("limits that are read once, with a warning", function()
  local n = 0
  local t = { timeout = SHORT * 2, warn = SHORT, on_warn = function() n = n + 1 end }
  local limits = leash.limits(t)
  t.on_warn = error
  for _ = 1, 2 do stopped("timeout", leash.call(limits, spin)) end
  equal(n, 2)
  collectgarbage()
  stopped("timeout", leash.call(limits, spin))
  equal(n, 3)
end)

clean_test("what are no limits is refused when they are read", function()
  local function refuses(value, why)
    raises("bad argument #1 to 'limits' (" .. why .. ")", function() leash.limits(value) end)
  end
  refuses(nil, "seconds or a table of limits expected, got nil")
  refuses("1", "seconds or a table of limits expected, got string")
  refuses(io.stdout, "seconds or a table of limits expected, got userdata")
  refuses({ timeout = -1 }, "timeout is negative")
  refuses({ tiemout = 1 }, "unknown limit 'tiemout'")
  refuses({ warn = 1 }, "warn needs on_warn")
  raises("(seconds or a table of limits expected, got no value)", function() leash.limits() end)
end)

clean_test("an object that was not made by leash.limits is none, whatever metatable it has", function()
  local limits = leash.limits(1)
  equal(getmetatable(limits), "leash.limits")
  local class = debug.getmetatable(limits)
  raises("limits expected", class.__tostring, 1)
  raises("limits expected", class.__tostring, io.stdout)
  local file = assert(io.tmpfile())
  local own = debug.getmetatable(file)
  debug.setmetatable(file, class)
  raises("seconds or a table of limits expected, got userdata", leash.call, file, print)
  debug.setmetatable(file, own)
  file:close()
  -- And one that was stays one.
  debug.setmetatable(limits, nil)
  equal(leash.call(limits, function() end), true)
  -- What is kept beside it, taken away: then it limits nothing.
  local warns = leash.limits { warn = 1, on_warn = print }
  local set = debug.setuservalue or debug.setfenv
  set(warns, {})
  equal(leash.call(warns, function() end), true)
  equal(pcall(tostring, warns), true)
  if pcall(set, warns, 1) then -- 5.2 and older take tables alone
    equal(leash.call(warns, function() end), true)
  end
end)

check.finish()
