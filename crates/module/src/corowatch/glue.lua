-- corowatch: what is not worth writing in Rust.
--
-- Receives the core (see corowatch.rs) and returns the module. The core knows the limits of a coroutine and tells, inside the
-- hook of a coroutine that is late, by calling core.dispatch; here are the callbacks, the messages, and the original's interface.

local core = ...

local create, status, running = coroutine.create, coroutine.status, coroutine.running
local wrap, yield = coroutine.wrap, coroutine.yield
local sethook, traceback = debug.sethook, debug.traceback
local resume = core.resume
local unpack = table.unpack or unpack

local M = {
  _VERSION = "corowatch 1.1 (leash " .. core.version .. ")",
  _COPYRIGHT = "Copyright (C) 2026 The Leash developers; interface by Thijs Schreijer, 2013",
  _DESCRIPTION = "Lua module to watch coroutine execution times and kill coroutines that run too long without yielding",
}

local HOOKCOUNT = 10000
local MAIN = {} -- stands for the main state where running() does not name it (5.1, LuaJIT)

-- What is known of each watched coroutine. Weak: a watch does not keep its coroutine.
local register = setmetatable({}, { __mode = "k" })
-- Tables that export() has filled: a clock of the user's may be in any of them.
local exported = setmetatable({}, { __mode = "k" })

-- The key of a coroutine; of the running one, if none is given.
local function key(co)
  return co or running() or MAIN
end

local function check(condition, message)
  if not condition then error(message, 3) end
end

-- Where a watch is created: the stack of whoever called a function of this module.
local function where()
  return (traceback("", 3):gsub("^\n", ""))
end

-- The user's clock, if there is one.
local function clock()
  if M.gettime ~= core.gettime then return M.gettime end
  for t in pairs(exported) do
    local f = rawget(t, "gettime")
    if f and f ~= core.gettime then return f end
  end
end

-- The core says that something has happened to the watched coroutine co. Runs in its hook ("start": in resume).
function core.dispatch(event, co)
  local e = register[key(co)]
  if event == "start" then
    e.started, e.warned = e.clock(), nil
  elseif event == "warn" then
    return e.cb("warn") and "afresh"
  elseif event == "kill" then
    e.message = "Coroutine exceeded its allowed running time of " .. tostring(e.kill) .. " seconds, without yielding"
      .. "\n============== traceback at coroutine creation time ====================\n" .. e.trace
      .. "\n======================== end of traceback =============================="
    if e.cb then e.cb("kill") end
  elseif event == "poll" then
    local time = e.clock() - e.started
    if e.warn and not e.warned and time > e.warn then
      e.warned = true
      if e.cb("warn") then e.started, e.warned = e.clock(), nil end
    elseif e.kill and time > e.kill then
      core.dispatch("kill", co)
      return "kill"
    end
  end
end

-- Why a coroutine that was killed is dead.
function core.message(co)
  return register[co].message
end

local function watch(co, kill, warn, cb, hookcount, trace)
  local e = { kill = kill, warn = warn, cb = cb, hookcount = hookcount, trace = trace, clock = clock() }
  core.watch(co, kill, warn, e.clock and (hookcount or HOOKCOUNT))
  register[key(co)] = e
  return co
end

function M.watch(co, kill, warn, cb, hookcount)
  check(co == nil or type(co) == "thread", "Expected thread, got " .. type(co))
  check(not register[key(co)], "Cannot create a watch, there already is one")
  check(kill or warn, "Either kill limit or warn limit must be provided")
  for name, limit in pairs { ["kill limit"] = kill or nil, ["warn limit"] = warn or nil } do
    check(type(limit) == "number" and limit >= 0 and limit < math.huge,
      "The " .. name .. " must be a number of seconds, not negative and finite, got " .. tostring(limit))
  end
  check(not warn or cb, "A callback function must be provided when adding a warnlimit")
  check(not (kill and warn) or kill > warn, "The warnlimit must be smaller than the killlimit")
  check(hookcount == nil or type(hookcount) == "number" and hookcount >= 1, "The hookcount must be a number, 1 or more")
  return watch(co or running(), kill, warn, cb, hookcount, where())
end

function M.create(f)
  local co = create(f)
  local e = register[key()]
  if e then watch(co, e.kill, e.warn, e.cb, e.hookcount, where()) end
  return co
end

-- The results of resume, as the original gives them.
local function resumer(co)
  return function(...) return resume(co, ...) end
end

function M.wrap(f)
  local e = register[key()]
  if not e then return wrap(f) end
  return resumer(watch(create(f), e.kill, e.warn, e.cb, e.hookcount, where()))
end

function M.wrapf(f, kill, warn, cb, hookcount)
  return resumer(M.watch(create(f), kill, warn, cb, hookcount))
end

M.resume = resume
M.yield = yield -- the clock stops when resume returns
M.running = running
M.gettime = core.gettime

function M.status(co)
  if type(co) == "thread" and core.killed(co) then return "dead" end
  return status(co)
end

function M.sethook(...)
  local co = ...
  if register[key(type(co) == "thread" and co or nil)] then
    error("Cannot set a debughook because corowatch is watching this coroutine", 2)
  end
  return sethook(...)
end

local NAMES = { "create", "wrap", "wrapf", "resume", "yield", "status", "running", "watch", "gettime" }

function M.export(t)
  t = t or {}
  check(type(t) == "table", "Expected table, got " .. type(t))
  local globals = type(t.coroutine) == "table" or type(t.debug) == "table"
  local c = t
  if globals then c = type(t.coroutine) == "table" and t.coroutine or nil end
  if globals and type(t.debug) == "table" then t.debug.sethook = M.sethook end
  if c then
    for _, name in ipairs(NAMES) do c[name] = M[name] end
    exported[c] = true
  end
  if t == core.globals and t.corowatch == nil then t.corowatch = M end
  return t
end

return M
