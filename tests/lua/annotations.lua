-- The type annotations in `library/` name what the modules have, all of it and nothing else.
--
--   LUA_PATH='target/modules/lua54/?.lua;tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/annotations.lua
--
-- An annotation file is Lua: loaded, it gives a table with functions that do nothing, whose names and parameters are to be those of the
-- module. What editors make of the comments in it is beyond this test.

local check = require "support.check"
local test, equal, ok = check.test, check.equal, check.ok

local folder = arg[0]:gsub("[^/]*$", "") .. "../../library/"

local function read(name)
  local file = assert(io.open(folder .. name:gsub("%.", "/") .. ".lua"))
  local text = file:read "*a"
  file:close()
  return text
end

local function annotated(name)
  return assert(dofile(folder .. name:gsub("%.", "/") .. ".lua"))
end

-- The same names, with values of the same types.
local function same(actual, expected, what)
  local seen = 0
  for key, value in pairs(expected) do
    equal(type(actual[key]), type(value), what .. "." .. key)
    seen = seen + 1
  end
  for key in pairs(actual) do
    ok(expected[key] ~= nil, what .. "." .. key .. " is not annotated")
  end
  ok(seen > 0, what .. " is empty")
end

for _, name in ipairs { "leash", "leash.ctrlc", "mtint", "corowatch" } do
  test(name .. ": the names of the module", function()
    same(require(name), annotated(name), name)
  end)

  test(name .. ": every parameter has a type", function()
    local comments = ""
    for line in read(name):gmatch "[^\n]*" do
      local parameters = line:match "^function [%w_.:]+%((.-)%)"
      if line:find("^%-%-%-") then
        comments = comments .. line .. "\n"
      elseif line ~= "" then
        for parameter in (parameters or ""):gmatch "[%w_.]+" do
          local pattern = "%-%-%-@param " .. parameter:gsub("%.", "%%.") .. "%f[%W]%??%s*%S"
          if parameter == "..." then pattern = "%-%-%-@param %.%.%. %S" end
          ok(comments:find(pattern), line .. ": no type of " .. parameter)
        end
        comments = ""
      end
    end
  end)
end

test("the names of the errors are the names that are raised", function()
  local mtint = require "mtint"
  same(mtint.error, annotated "mtint".error, "mtint.error")
  for key, value in pairs(annotated "mtint".error) do
    equal(mtint.error[key], value, key)
  end
end)

test("the methods of an interruptible object", function()
  local mtint = require "mtint"
  local methods = debug.getmetatable(mtint.interruptible(mtint.id())).__index
  local known = {}
  for name in read "mtint":gmatch "\nfunction interruptible:([%w_]+)" do known[name] = print end
  same(methods, known, "interruptible")
end)

-- The fields of a class, from the lines `---@field NAME TYPE` that follow it.
local function fields(file, class)
  local block = read(file):match("%-%-%-@class " .. class:gsub("%.", "%%.") .. "\n(.-)\n[^%-]") or ""
  local names = {}
  for name in block:gmatch "%-%-%-@field ([%w_]+)" do names[name] = true end
  return names
end

local function same_names(actual, known, what)
  for name in pairs(actual) do ok(known[name], what .. "." .. name .. " is not annotated") end
  for name in pairs(known) do ok(actual[name] ~= nil, what .. "." .. name .. " is not there") end
  ok(next(known), what .. " is empty")
end

test("what leash.info() tells", function()
  same_names(require "leash".info(), fields("leash", "leash.info"), "info")
end)

test("what corowatch.export() fills in", function()
  same_names(require "corowatch".export(), fields("corowatch", "corowatch.exported"), "exported")
end)

test("the other names lead to the same annotations", function()
  for _, name in ipairs { "mtint", "corowatch" } do
    ok(read("leash/" .. name):find('\nreturn require "' .. name .. '"\n', 1, true), name)
  end
end)

check.finish()
