-- Hostile scripts under a limit, in a call (leash.call) and in a coroutine (leash.watch): each of them must be stopped, and the state must be healthy
-- afterwards. Those that catch errors, or go deep, also with next to no memory besides: what Lua is refused must not keep a stop away.
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/evasion.lua [--surroundings] [SCRIPT... | --part I N]
--
-- With `--part` it is every N-th script, from the I-th on: who starts all N parts at once is done sooner. `--surroundings` in front of that, or of the scripts: not in these two ways, but in all of
-- `support/surroundings.lua`, with guarded functions of the library; four minutes.
--
-- The scripts are in the folder `evasion`, one trick in each; a line `-- Only: lua54 lua55` names the engines that have what it needs. Each
-- runs in two or three processes of its own, which call or watch it; each is killed if it does not come back: so one that is not stopped fails, is named, and
-- does not keep the others from running.

local LIMIT = 0.05 -- seconds that a script gets
local PATIENCE = 30 -- seconds until its process is killed
local MEMORY = 60000 -- bytes that a script gets where memory is short
local LITTLE_PATIENCE = 3 -- the same, for those that are expected not to be stopped

-- What an engine cannot stop yet, and why. It is run all the same: when it is stopped one day, this list is wrong, and that is a failure, too.
local NOT_YET = {} -- nothing: SCRIPT = { ENGINE = WHY }

local NO_MTINT = "mtint does not interrupt coroutines there, so the script fails"

local YIELDS = "in a coroutine it can yield, so it does what it has to"

-- The same for a watched coroutine.
local NOT_YET_WATCHED = {
  own_interrupt_handler = { lua51 = NO_MTINT, luajit = NO_MTINT },
  own_interrupt_handler_catches = { lua51 = NO_MTINT, luajit = NO_MTINT },
  coroutine_main_yields = {
    lua52 = YIELDS, lua53 = YIELDS, lua54 = YIELDS, lua55 = YIELDS, luajit = YIELDS, -- 5.1 cannot yield across pcall
  },
}

-- Scripts that are not for all surroundings.
local IN_GC = "LuaJIT does not allow that in a finalizer"
local NOT_EVERYWHERE = {
  own_interrupt_handler = NO_MTINT,
  own_interrupt_handler_catches = NO_MTINT,
  coroutine_main_yields = YIELDS,
  jit_flush = IN_GC,
  jit_on = IN_GC,
}

local folder = arg[0]:gsub("[^/]*$", "")

-- The child: runs one script, and looks at the state afterwards. -----------------------------------------------------------------

-- What hook is set; nil: none.
local function hook_left()
  local f, mask, count = debug.gethook()
  return f ~= nil and (mask ~= "" or count ~= 0) and ("%s %s %d"):format(tostring(f), mask, count) or nil
end

local function no_hook(where)
  local hook = hook_left()
  if hook then error("a hook is left " .. where .. ": " .. hook .. ", then " .. tostring(hook_left())) end
end

-- Finalizers that the script has left behind run when its garbage is collected: so that is done first of all, and under a limit again.
local function full_collection()
  collectgarbage()
  collectgarbage()
end

local function collect(leash)
  for _ = 1, 150 do
    if leash.call(0.1, full_collection) then return end
  end
  error "the collector does not come to an end"
end

local function look_after(leash)
  no_hook "there"
  local fine, value = leash.call(100, function(x) return x end, 7)
  assert(fine and value == 7, "the next call does not work")
  for _ = 1, 3 do
    local fine, err = leash.call(0.01, function() while true do pcall(error) end end)
    assert(not fine and leash.reason(err) == "timeout", "the next limit does not work")
  end
  no_hook "after the next stop"
  local co = coroutine.wrap(function() coroutine.yield(hook_left()) end)
  assert(not co(), "a hook is left in a coroutine")
  local weak = setmetatable({ {} }, { __mode = "v" })
  collect(leash)
  assert(not weak[1], "the collector does not collect")
  local before = collectgarbage "count"
  for _ = 1, 200000 do local _ = { {} } end
  assert(collectgarbage "count" < before + 20000, "the collector does not run by itself")
end

local function read(file)
  local f = assert(io.open(file))
  local text = f:read "*a"
  f:close()
  return text
end

-- Each runs the script, and returns a function that checks the outcome and returns how long it took. That is called later: the garbage that a script leaves behind
-- may have endless finalizers, so nothing is to be allocated before it has been collected.
local ways = {}

local function is_stop(leash, err)
  assert(leash.reason(err) == "timeout", "it ended with " .. tostring(err))
end

function ways.call(leash, script)
  local fine, err
  local function check()
    assert(not fine, "it has ended by itself")
    is_stop(leash, err)
    return err.elapsed
  end
  fine, err = leash.call(LIMIT, script)
  return check
end

-- Memory runs out first or time does, or a script that catches neither ends by an error of Lua's own. So what is asked for is that it ends soon.
function ways.short(leash, script)
  local gettime = require "corowatch".gettime
  local start, ended, fine, err
  local function check()
    assert(not fine, "it has ended by itself")
    local reason = leash.reason(err)
    assert(reason == "timeout" or reason == "memory", "it ended with " .. tostring(err))
    assert(ended - start < 10, "it was stopped after " .. ended - start .. " s")
    return ended - start
  end
  local limits = { timeout = LIMIT, memory = MEMORY }
  start = gettime()
  fine, err = leash.call(limits, script)
  ended = gettime()
  return check
end

-- What the stock function may return instead of a stop. 5.2 and 5.3 put a text in the place of any error of a finalizer, and that text into the next one if
-- finalizers are inside each other. (`leash.resume` returns the stop.)
local function passes_for_stop(err)
  if type(err) ~= "string" then return false end
  if _VERSION == "Lua 5.2" or _VERSION == "Lua 5.3" then return err:find "^error in __gc metamethod" and err:find "%(no message%)+$" end
  return false
end

-- By the stock functions: so it is seen to run, and not counted exactly.
function ways.watch(leash, script)
  local gettime = require "corowatch".gettime
  local start, ended, fine, err
  local function check()
    assert(not fine, "it has ended by itself")
    local late = ended - start >= LIMIT
    if not (late and passes_for_stop(err)) then is_stop(leash, err) end
    return ended - start
  end
  local co = leash.watch(coroutine.create(script), LIMIT)
  start = gettime()
  fine, err = coroutine.resume(co)
  ended = gettime()
  return check
end

local function in_surroundings(run, with_finalizer)
  return function(leash, script)
    local gettime = require "corowatch".gettime
    local start, ended, fine, err, by_stock
    local function check()
      assert(not fine, "it has ended by itself")
      if not (by_stock and ended - start >= LIMIT and passes_for_stop(err)) then is_stop(leash, err) end
      return ended - start
    end
    start = gettime()
    fine, err, by_stock = run(leash, script, LIMIT, with_finalizer)
    ended = gettime()
    return check
  end
end

local function run_one(way, file)
  local load_script = require "support.evasion"
  local leash = require "leash"
  local text = read(file)
  -- Tricks with C functions that are stopped only if they are guarded.
  local around = require "support.surroundings"[way]
  if around or text:find("-- Needs: guard_stdlib\n", 1, true) then leash.guard_stdlib() end
  local script, env = load_script(file)
  local check = (ways[way] or in_surroundings(around, env.with_finalizer))(leash, script)
  env.done, script = true, nil
  collect(leash)
  local elapsed = check()
  collectgarbage "restart"
  pcall(collectgarbage, "incremental")
  pcall(collectgarbage, "setpause", 200) -- or Lua collects all the time, as some scripts have told it
  look_after(leash)
  io.stdout:write("stopped ", ("%.1f"):format((elapsed - LIMIT) * 1000), "\n")
end

if arg[1] == "--child" then
  run_one(arg[2], arg[3])
  os.exit(0)
end

-- The parent. ---------------------------------------------------------------------------------------------------------------------

local check = require "support.check"

local function lines(command)
  local pipe = assert(io.popen(command))
  local found = {}
  for line in pipe:lines() do found[#found + 1] = line end
  pipe:close()
  return found
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- "stopped" and how late in milliseconds, or what it said instead.
local function try(way, file, patience)
  local words = { "timeout -s KILL", patience, quoted(arg[-1]), quoted(arg[0]), "--child", quoted(way), quoted(file), "2>&1" }
  local said = lines(table.concat(words, " ") .. "; echo exit $?")
  local late = table.concat(said, "\n"):match "stopped (%S+)\nexit 0$"
  return late and "stopped" or table.concat(said, "\n"), tonumber(late)
end

local all_around = arg[1] == "--surroundings" and table.remove(arg, 1)
local wanted, part, parts = {}, 1, 1
if arg[1] == "--part" then
  part, parts = tonumber(arg[2]), tonumber(arg[3])
else
  for i = 1, #arg do wanted[arg[i]] = true end
end

local files = {}
for i, file in ipairs(lines("ls " .. quoted(folder) .. "evasion/*.lua")) do
  if i % parts == part % parts then files[#files + 1] = file end
end

local names = {}
for _, file in ipairs(files) do names[file:match "([^/]*)%.lua$"] = true end
for name in pairs(wanted) do
  if not names[name] then error("there is no script of this name: " .. name, 0) end
end

-- `cargo xtask limits` makes a report of the outcomes.
local function note(...)
  local file = os.getenv "LEASH_EVASION"
  if not file then return end
  local f = assert(io.open(file, "a"))
  f:write(table.concat({ ... }, "\t"), "\n")
  f:close()
end

local CATCHES_OR_GOES_DEEP = { "^gc_", "^pcall_", "^xpcall_", "^recursion", "^close_", "^error_", "^coroutine_tower", "^coroutine_wrap", "^sethook_", "^tail_calls" }

local function matches(name, patterns)
  for _, pattern in ipairs(patterns) do
    if name:find(pattern) then return true end
  end
  return false
end

-- All of them, or those whose names match one of the patterns.
local function run_all(way, not_yet, patterns)
  local stopped, skipped, latest, slowest = 0, 0, 0, "none"
  for _, file in ipairs(files) do
    local name = file:match "([^/]*)%.lua$"
    local only = read(file):match "\n%-%- Only: ([^\n]*)"
    local reason = not_yet[name] and (not_yet[name][check.engine] or not_yet[name].all)
    if all_around and NOT_EVERYWHERE[name] then
      skipped = skipped + 1
    elseif only and not (only .. " "):find(check.engine .. " ", 1, true) then
      skipped = skipped + 1
    elseif (next(wanted) == nil or wanted[name]) and matches(name, patterns or { "" }) then
      check.test(way .. ": " .. name, function()
        local outcome, late = try(way, file, reason and LITTLE_PATIENCE or PATIENCE)
        if reason then
          check.ok(outcome ~= "stopped", "it is stopped by now: take it off the list")
          print(("%s: %s: not stopped yet: %s"):format(way, name, reason))
          note(way, name, reason)
          return
        end
        check.equal(outcome, "stopped")
        stopped = stopped + 1
        note(way, name, late)
        if late > latest then latest, slowest = late, name end
      end)
    end
  end
  local format = "%s: %d stopped, the latest %.1f ms after the limit (%s); %d are for other engines"
  print(format:format(way, stopped, latest, slowest, skipped))
end

if all_around then
  for name in pairs(require "support.surroundings") do run_all(name, {}) end
else
  run_all("call", NOT_YET)
  run_all("watch", NOT_YET_WATCHED)
  run_all("short", {}, CATCHES_OR_GOES_DEEP)
end

check.finish()
