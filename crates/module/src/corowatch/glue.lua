-- corowatch: what is not worth writing in Rust.
--
-- Receives the core (see corowatch.rs) and returns the module. The core knows the limits of a coroutine and where its watch was
-- created, and tells, inside the hook of a coroutine that is late, by calling core.dispatch; here are the callbacks, the clocks of
-- users, and the original's interface. What is kept here of each coroutine is its callback, if it has one.

local core = ...

local create, status, running = coroutine.create, coroutine.status, coroutine.running
local wrap, yield = coroutine.wrap, coroutine.yield
local sethook = debug.sethook
local resume = core.resume

local M = {
  _VERSION = "corowatch 1.1 (" .. core.version .. ")",
  _COPYRIGHT = "Copyright (C) 2026 The Leash developers; interface by Thijs Schreijer, 2013",
  _DESCRIPTION = "Lua module to watch coroutine execution times and kill coroutines that run too long without yielding",
}

local HOOKCOUNT = 10000
local MAIN = {} -- stands for the main state where running() does not name it (5.1, LuaJIT)

-- The callbacks of watched coroutines. Weak: a watch does not keep its coroutine.
local callbacks = setmetatable({}, { __mode = "k" })
core.callbacks = callbacks

-- The key of a coroutine; of the running one, if none is given.
local function key(co)
  return co or running() or MAIN
end

-- Clocks of users -----------------------------------------------------------------------------------------------------

-- A user may replace `gettime` at any time, in this module or in a table that export() has filled, and the next resume follows the
-- new clock. A resume cannot afford to look into tables. So `gettime` is kept behind them, in the __index of a metatable,
-- and who replaces it meets __newindex. A table that has a metatable of its own stays as it is; then every resume has to look.
local hidden = setmetatable({}, { __mode = "k" }) -- by table: where its gettime is
local exposed = setmetatable({}, { __mode = "k" }) -- tables that have to be looked into

local function own(f)
  return f ~= nil and f ~= core.gettime and f or nil
end

-- The user's clock, if there is one; that in this module first.
local function clock()
  local mine = own(hidden[M].gettime)
  if mine then return mine end
  for _, fields in pairs(hidden) do
    if own(fields.gettime) then return fields.gettime end
  end
  for t in pairs(exposed) do
    if own(rawget(t, "gettime")) then return rawget(t, "gettime") end
  end
end

-- Has each resume ask for the clock, if there is one to ask for.
local function follow()
  core.asks(next(exposed) ~= nil or clock() ~= nil)
end

local function put_gettime(t, f)
  if getmetatable(t) ~= nil and not hidden[t] then
    rawset(t, "gettime", f)
    exposed[t] = true
  elseif hidden[t] then
    t.gettime = f
  else
    local fields = { gettime = f }
    hidden[t] = fields
    rawset(t, "gettime", nil)
    setmetatable(t, {
      __index = fields,
      __newindex = function(self, name, value)
        if name ~= "gettime" then return rawset(self, name, value) end
        fields.gettime = value
        follow()
      end,
    })
  end
  follow()
end

-- Of coroutines whose limits follow a user's clock: that clock, when it started, and whether it has warned.
local times = setmetatable({}, { __mode = "k" })

-- A resume is about to begin. By which clock?
local function start(co)
  local now = clock()
  if not now then return false end
  local kill, warn = core.limits(co)
  times[co] = { kill = kill, warn = warn, clock = now, started = now() }
  return true
end

local function poll(co, cb)
  local t = times[co]
  local time = t.clock() - t.started
  if t.warn and not t.warned and time > t.warn then
    t.warned = true
    if cb("warn") then t.started, t.warned = t.clock(), nil end
  elseif t.kill and time > t.kill then
    if cb then cb("kill") end
    return "kill"
  end
end

-- The core says that something has happened to the watched coroutine co. Runs in its hook ("start": in resume).
function core.dispatch(event, co)
  local cb = callbacks[co]
  if event == "warn" then
    return cb("warn") and "afresh"
  elseif event == "kill" then
    if cb then cb("kill") end
  elseif event == "poll" then
    return poll(co, cb)
  else
    return start(co)
  end
end

-- The interface -------------------------------------------------------------------------------------------------------

-- Nothing that is wrong: nothing is made here, not even a string, for servers watch each of their requests.

local function check_limit(name, limit)
  if type(limit) ~= "number" or not (limit >= 0 and limit < math.huge) then
    error("The " .. name .. " must be a number of seconds, not negative and finite, got " .. tostring(limit), 3)
  end
end

local function check(condition, message)
  if not condition then error(message, 3) end
end

-- The core looks for the place where a watch is created two levels up: so who calls core.watch or core.inherit is called by the user.

function M.watch(co, kill, warn, cb, hookcount)
  if co ~= nil and type(co) ~= "thread" then error("Expected thread, got " .. type(co), 2) end
  check(not core.watched(co), "Cannot create a watch, there already is one")
  check(kill or warn, "Either kill limit or warn limit must be provided")
  if kill then check_limit("kill limit", kill) end
  if warn then check_limit("warn limit", warn) end
  check(not warn or cb, "A callback function must be provided when adding a warnlimit")
  check(not (kill and warn) or kill > warn, "The warnlimit must be smaller than the killlimit")
  check(hookcount == nil or type(hookcount) == "number" and hookcount >= 1, "The hookcount must be a number, 1 or more")
  core.watch(co, kill, warn, hookcount or HOOKCOUNT)
  callbacks[key(co)] = cb
  return co or running()
end

function M.create(f)
  local co = create(f)
  if core.watched() then
    core.inherit(co)
    callbacks[co] = callbacks[key()]
  elseif core.warded() then
    core.inherit(co)
  end
  return co
end

function M.wrap(f)
  if core.warded() then
    local co = create(f)
    core.inherit(co)
    return core.plain_wrapper(co)
  end
  if not core.watched() then return wrap(f) end
  local co = create(f)
  core.inherit(co)
  callbacks[co] = callbacks[key()]
  return core.wrapper(co)
end

function M.wrapf(f, kill, warn, cb, hookcount)
  return core.wrapper(M.watch(create(f), kill, warn, cb, hookcount))
end

M.resume = resume
M.yield = yield -- the clock stops when resume returns
M.running = running
put_gettime(M, core.gettime)

function M.status(co)
  if type(co) == "thread" and core.killed(co) then return "dead" end
  return status(co)
end

function M.sethook(...)
  local co = ...
  if core.watched(type(co) == "thread" and co or nil) then
    error("Cannot set a debughook because corowatch is watching this coroutine", 2)
  end
  return sethook(...)
end

local NAMES = { "create", "wrap", "wrapf", "resume", "yield", "status", "running", "watch" }

function M.export(t)
  t = t or {}
  if type(t) ~= "table" then error("Expected table, got " .. type(t), 2) end
  local globals = type(t.coroutine) == "table" or type(t.debug) == "table"
  local c = t
  if globals then c = type(t.coroutine) == "table" and t.coroutine or nil end
  if globals and type(t.debug) == "table" then t.debug.sethook = M.sethook end
  if c then
    for _, name in ipairs(NAMES) do c[name] = M[name] end
    put_gettime(c, M.gettime)
  end
  if t == core.globals and t.corowatch == nil then t.corowatch = M end
  return t
end

return M
