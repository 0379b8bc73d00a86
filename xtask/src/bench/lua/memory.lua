-- INTERPRETER memory.lua VARIANT NUMBER: makes so many coroutines, and writes by how many bytes the Lua state has grown for each of
-- them, and by how many the process.
--
-- The coroutines have been resumed once, and have a callback each, as a server's have that watches its requests. Compare the
-- variants: what a watched coroutine takes beyond a plain one.

local variant, number = ...
number = tonumber(number)

local create, resume = coroutine.create, coroutine.resume
if variant ~= "plain" then
  local module = require(variant == "watched" and "corowatch" or "hookwatch")
  resume = module.resume
  create = function(f, cb) return module.watch(coroutine.create(f), 3600, 1800, cb) end
end

local function resident()
  local file = assert(io.open("/proc/self/smaps_rollup"))
  local kilobytes = file:read("*a"):match("Anonymous:%s*(%d+)")
  file:close()
  return tonumber(kilobytes) * 1024
end

local function state()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count") * 1024
end

local function body() coroutine.yield() end
local kept, callbacks = {}, {}
for i = 1, number do kept[i], callbacks[i] = false, false end
-- The first few make what is made once.
for i = 1, 100 do resume(create(body, function() return i end)) end

local state_before, resident_before = state(), resident()
for i = 1, number do
  local function callback() return i end
  local co = create(body, callback)
  resume(co)
  kept[i], callbacks[i] = co, callback
end
local state_after, resident_after = state(), resident()
print((state_after - state_before) / number, (resident_after - resident_before) / number)
