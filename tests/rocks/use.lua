-- Uses the three modules as LuaRocks has installed them: `cargo xtask test --only rocks` runs it with the paths of a rocks tree.
--
--   eval "$(luarocks --lua-version 5.4 --tree TREE path)"; lua5.4 tests/rocks/use.lua lua54

local engine = ...

-- Compiled code is not reached.
if jit then jit.off() end

local leash = require "leash"
assert(leash.info().engine == engine, "built for " .. leash.info().engine .. ", not for " .. tostring(engine))

local function loop()
  while true do end
end

-- leash: a state interrupts itself.
local ok, message = pcall(function()
  leash.interrupt(leash.id())
  loop()
end)
assert(not ok and message:find("interrupted", 1, true), message)

-- mtint: the ids are the same, so all modules are one library; a handler takes the interrupt, and the code goes on.
local mtint = require "mtint"
assert(mtint.id() == leash.id(), "mtint and leash do not share their ids")
local handled = 0
mtint.sethook(function() handled = handled + 1 end)
mtint.interrupt(mtint.id())
mtint.sethook(nil)
assert(handled == 1, handled)

-- corowatch: a coroutine that does not yield is killed by the timer thread.
local corowatch = require "corowatch"
ok, message = corowatch.wrapf(loop, 0.05)()
assert(not ok and message:find("without yielding", 1, true), message)

print("leash, mtint and corowatch work on " .. leash.info().version .. ", built for " .. engine)
