-- What the tests of mtint share.

if jit then
  jit.off() -- compiled code does not see hooks
end

local check = require "support.check"
local mtint = require "mtint"

-- Runs on for a while: some thousand calls, returns and instructions.
local function run_on()
  local n = 0
  for i = 1, 20000 do
    n = n + math.abs(i) - i
  end
  return n
end

-- After a test that may have left a handler or a request.
local function clean()
  mtint.interrupt(mtint.id(), false)
  mtint.sethook(nil)
  pcall(run_on)
end

local function clean_test(name, f)
  check.test(name, function()
    clean()
    local fine, message = xpcall(f, function(e)
      return type(e) == "string" and debug.traceback(e, 2) or e
    end)
    clean()
    if not fine then
      error(message, 0)
    end
  end)
end

local function coroutine_test(name, f)
  if check.coroutines then
    clean_test(name, f)
  end
end

return { run_on = run_on, clean_test = clean_test, coroutine_test = coroutine_test }
