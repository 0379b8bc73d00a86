-- LuaJIT's compiled code under the modules: it is reached, it stays compiled, and the profiler is still the script's.
if not jit then
  print("no compiler here: nothing to look at")
  return
end

local leash = require "leash"
local corowatch = require "corowatch"
local mtint = require "mtint"
local util = require "jit.util"

-- A LuaJIT that was built without the profiler has no guards: all of this is interpreted then.
local guarded = pcall(require, "jit.profile")
assert(leash.info().jit == (guarded and "guarded" or "interpreted"), leash.info().jit)

jit.opt.start("hotloop=2", "hotexit=2")

local function traces()
  local n = 0
  for i = 1, 1000 do if util.traceinfo(i) then n = n + 1 end end
  return n
end

local function was_compiled(name)
  assert((traces() > 0) == guarded, name .. (guarded and ": was not compiled" or ": was compiled"))
end

local loops = {
  empty = function() while true do end end,
  sum = function() local n = 0 while true do n = n + 1 end end,
  tables = function() local t = {1, 2, 3} local n = 0 while true do n = n + 1 t[n % 3 + 1] = n end end,
  calls = function() local function f(x) return x + 1 end local n = 0 while true do n = f(n) end end,
  strings = function() local n = 0 while true do n = n + 1 local s = "a" .. n % 10 end end,
  ffi = function() local a = require("ffi").new("int[8]") while true do for i = 0, 7 do a[i] = a[i] + 1 end end end,
}

-- corowatch: late coroutines die in the middle of compiled code.
for name, loop in pairs(loops) do
  for _ = 1, 5 do
    jit.flush()
    local co = corowatch.watch(coroutine.create(loop), 0.02)
    local ok, err = corowatch.resume(co)
    assert(not ok and err:find("exceeded its allowed running time", 1, true), name)
    assert(corowatch.status(co) == "dead")
    was_compiled(name)
  end
end

-- A warning that goes on leaves the sum right.
do
  local warned = 0
  local co = corowatch.watch(coroutine.create(function()
    local n = 0
    for i = 1, 3e8 do n = n + i % 7 end
    return n
  end), 60, 0.02, function(what) assert(what == "warn") warned = warned + 1 return true end)
  local ok, sum = corowatch.resume(co)
  assert(ok, sum)
  local plain = 0
  for i = 1, 3e8 do plain = plain + i % 7 end
  assert(sum == plain, sum .. " instead of " .. plain)
  assert(warned > 0, "never warned: the machine is too fast for this test")
end

-- mtint: from another thread.
do
  local llthreads = require "llthreads2.ex"
  local id = mtint.id()
  for name, loop in pairs(loops) do
    jit.flush()
    local thread = llthreads.new(function(id)
      local mtint, mtmsg = require "mtint", require "mtmsg"
      mtmsg.sleep(0.02)
      return mtint.interrupt(id)
    end, id)
    thread:start()
    local ok, err = pcall(loop)
    assert(not ok and tostring(err):find(mtint.error.interrupted, 1, true), name .. ": " .. tostring(err))
    local _, known = thread:join()
    assert(known == true)
    was_compiled(name)
  end
end

-- The profiler of the script: it samples, and takes nothing from the watch.
if guarded then
  local profile = require "jit.profile"
  local function work(seconds)
    local n, until_ = 0, os.clock() + seconds
    while os.clock() < until_ do for i = 1, 1e5 do n = n + i end end
    return n
  end
  for _, mode in ipairs { "f", "l", "fi1" } do
    local samples = 0
    profile.start(mode, function(_, n) samples = samples + n end)
    work(0.15)
    local co = corowatch.watch(coroutine.create(loops.empty), 0.02)
    assert(not corowatch.resume(co))
    profile.stop()
    assert(samples > 3, mode .. ": " .. samples .. " samples in 150 ms")
    local co = corowatch.watch(coroutine.create(loops.sum), 0.02)
    assert(not corowatch.resume(co))
  end
  local ok, p = pcall(require, "jit.p")
  if ok then
    local report = os.tmpname()
    p.start("f", report)
    work(0.1)
    p.stop()
    local f = assert(io.open(report))
    assert(f:read("*a"):find("work", 1, true), "jit.p has reported nothing")
    f:close()
    os.remove(report)
  end
end

print((guarded and "compiled code is reached, on " or "without guards, code runs interpreted, on ") .. jit.version)
