-- A small test support: named tests, counts, exit code 1 on failure. Plain Lua, 5.1 to 5.5 and LuaJIT.
--
--   local check = require "support.check"     (LUA_PATH has tests/lua/?.lua)
--   check.test("what holds", function() check.equal(1 + 1, 2) end)
--   check.finish()
--
-- `check.engine` is "lua51" to "lua55" or "luajit"; `check.coroutines` says whether coroutines have hooks of their own here.

local check = {}

check.engine = jit and "luajit" or (_VERSION:gsub("^Lua (%d)%.(%d)$", "lua%1%2"))
check.coroutines = check.engine ~= "lua51" and check.engine ~= "luajit"

local passed, failed = 0, {}

-- Messages say where the test called, not where this file did.
local function fail(message)
  error(message, 3)
end

local function show(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

function check.ok(value, what)
  if not value then
    fail((what or "expected something true") .. ", got " .. show(value))
  end
  return value
end

function check.equal(value, expected, what)
  if value ~= expected then
    fail((what and what .. ": " or "") .. "expected " .. show(expected) .. ", got " .. show(value))
  end
  return value
end

-- A string that contains a text, as it is.
function check.contains(value, text)
  if type(value) ~= "string" or not value:find(text, 1, true) then
    fail("expected a string with " .. show(text) .. " in it, got " .. show(value))
  end
  return value
end

-- A string that matches a pattern.
function check.matches(value, pattern)
  if type(value) ~= "string" or not value:find(pattern) then
    fail("expected a string that matches " .. show(pattern) .. ", got " .. show(value))
  end
  return value
end

-- Calls f(...), which must raise a string that contains a text. Returns the string.
function check.raises(text, f, ...)
  local ok, message = pcall(f, ...)
  if ok then
    fail("expected an error with " .. show(text) .. " in it, but there was none")
  end
  if type(message) ~= "string" or not message:find(text, 1, true) then
    fail("expected an error with " .. show(text) .. " in it, got " .. show(message))
  end
  return message
end

-- Runs a test. What it raises is a failure.
function check.test(name, f)
  local ok, message = xpcall(f, function(e)
    return debug.traceback(tostring(e), 2)
  end)
  if ok then
    passed = passed + 1
  else
    failed[#failed + 1] = name
    io.stderr:write("FAILED: ", name, "\n  ", (message:gsub("\n", "\n  ")), "\n")
  end
end

-- Says how it went; the program ends with 1 if anything has failed, or if nothing was tested.
function check.finish()
  local script = arg and arg[0] or "?"
  print(("%s on %s: %d passed, %d failed"):format(script, check.engine, passed, #failed))
  if #failed > 0 or passed == 0 then
    io.stderr:write(script, ": ", passed == 0 and "nothing was tested" or "failed: " .. table.concat(failed, "; "), "\n")
    os.exit(1)
  end
end

return check
