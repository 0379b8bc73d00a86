-- What the tests of leash.call share.

local check = require "support.check"
local leash = require "leash"
local test, equal, ok = check.test, check.equal, check.ok

local SHORT, LONG = 0.02, 100

local function spin()
  while true do end
end

-- What leash.call returned, which must be a stop for this reason. Returns the error object.
local function stopped(reason, ...)
  local n, fine, err = select("#", ...), ...
  equal(fine, false)
  equal(n, 2)
  equal(type(err), "userdata", tostring(err))
  equal(leash.reason(err), reason)
  equal(err.reason, reason)
  return err
end

-- 5.1 never forgets the function, not even for another coroutine at the same place.
local function has_hook(...)
  local f, mask, count = debug.gethook(...)
  return f ~= nil and (mask ~= "" or count ~= 0)
end

-- The state is as if nothing had happened.
local function healthy()
  equal(has_hook(), false, "a hook is left")
  equal(select("#", leash.call(LONG, function() return 1, 2 end)), 3)
  local co = coroutine.create(function() coroutine.yield() return has_hook() end)
  ok(coroutine.resume(co))
  equal(select(2, coroutine.resume(co)), false)
  local grown = {}
  for i = 1, 1000 do grown[i] = { i } end
  collectgarbage()
  collectgarbage()
end

local function clean_test(name, f)
  test(name, function()
    f()
    healthy()
  end)
end

return {
  SHORT = SHORT, LONG = LONG, spin = spin, stopped = stopped, has_hook = has_hook, healthy = healthy, clean_test = clean_test,
}
