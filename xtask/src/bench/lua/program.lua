-- INTERPRETER program.lua VARIANT SEED SCRIPT ARGS...: runs a program as it is, and writes the CPU time of its work to standard error.
--
-- What the program writes goes to standard output, where its reader compares it. Variants: "plain", without Leash; "interpreted", the same
-- with LuaJIT's compiler off; "attached", with the module loaded; "call", inside leash.call with a timeout of an hour. Starting the
-- interpreter, loading the module and compiling the script to bytecode are not measured.
--
-- The seed moves all that is allocated after it: in LuaJIT the place of the bytecode decides which loops are found to be hot first.

local clock = require "clock"
local variant, seed, script = ...
local arguments = { select(4, ...) }

local leash
if variant == "interpreted" then
  jit.off()
elseif variant ~= "plain" then
  leash = require "guarded"
end

local moves = ("x"):rep(tonumber(seed) * 808 % 4096)
local program = assert(loadfile(script))
arg = { [0] = script }
for i = 1, #arguments do arg[i] = arguments[i] end

local work = program
if variant == "call" then
  local call, limits = leash.call, { timeout = 3600 }
  work = function() assert(call(limits, program)) end
else
  assert(variant == "plain" or variant == "attached" or variant == "interpreted", variant)
end

local start = clock()
work()
io.stderr:write(("%.6f\n"):format(clock() - start))
assert(#moves < 4096) -- it was there all the time
