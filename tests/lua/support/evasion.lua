-- What the scripts of `tests/lua/evasion` have besides the standard library.
--
--   local environment = require "support.evasion"     a function: makes the environment of one script
--   leash run --timeout 50ms tests/lua/support/evasion.lua SCRIPT     runs one in it

-- Local copies of functions, taken before Leash is loaded.
local before = { pcall = pcall, create = coroutine.create, resume = coroutine.resume }

local function spin()
  while true do end
end

-- Makes garbage that has a finalizer: a userdata on 5.1 and LuaJIT, a table elsewhere. (`setmetatable` of LuaJIT takes `__gc` of tables, and
-- ignores it.)
local function with_finalizer(finalizer)
  if newproxy then
    getmetatable(newproxy(true)).__gc = finalizer
  else
    setmetatable({}, { __gc = finalizer })
  end
end

-- Coroutines that are older than the limit; each is endless when it is resumed.
local function make_older()
  local cos, n = {}, 0
  for i = 1, 50 do
    cos[i] = coroutine.create(function() coroutine.yield() while true do pcall(spin) end end)
    coroutine.resume(cos[i])
  end
  return function()
    n = n % #cos + 1
    return cos[n]
  end
end

local function environment()
  return setmetatable({ before = before, with_finalizer = with_finalizer, older = make_older() }, { __index = _G })
end

-- A script as a function in this environment.
local function load_script(file)
  local env = environment()
  if setfenv then
    return setfenv(assert(loadfile(file)), env), env
  end
  return assert(loadfile(file, "t", env)), env
end

if arg and arg[0]:find "support/evasion%.lua$" then
  load_script(arg[1])()
end

return load_script
