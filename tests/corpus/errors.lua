-- Error paths: error values of all kinds, levels, nested pcall and xpcall,
-- tracebacks, __tostring, errors in coroutines and metamethods, a stack
-- overflow; ends by os.exit(3) with output still in the buffer.
-- Usage: errors.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 120000

local function show(...)
  local parts = { ... }
  for i = 1, select("#", ...) do
    parts[i] = tostring(parts[i]):gsub("0x%x+", "ADDRESS"):gsub("[^%s]*errors%.lua", "errors.lua")
  end
  print(table.concat(parts, "\t"))
end

local Failure = {}
Failure.__index = Failure
Failure.__tostring = function(self) return "Failure(" .. self.code .. ")" end

local function fail(code) error(setmetatable({ code = code }, Failure)) end

-- What an error carries.
show(pcall(error, "text"))
show(pcall(error, "text", 0))
show(pcall(error))
show(pcall(error, nil))
show(pcall(error, 42))
show(pcall(error, false))
show(pcall(fail, 7))
show(pcall(function() error("here") end))
show(pcall(function() local function inner() error("at the caller", 2) end inner() end))
show(pcall(function() error({ 1, 2, 3 }) end))

-- Errors of the language itself; the wording is the interpreter's. The base
-- functions are called by name: called by pcall itself, 5.2 names them
-- "ipairs" or "_G.ipairs" by the chance of its hash seed.
local nothing
show(pcall(function() return nothing.field end))
show(pcall(function() return nothing() end))
show(pcall(function() return 1 + {} end))
show(pcall(function() return "a" .. {} end))
show(pcall(function() return 1 < "2" end))
show(pcall(function() return #5 end))
show(pcall(function() local t = {} t[nil] = 1 end))
show(pcall(function() for i = 1, 10, 0 do break end return "a step of 0 is an error since 5.4" end))
show(pcall(string.rep))
show(pcall(string.format, "%d", "x"))
show(pcall(function() local t = setmetatable(1, {}) return t end))
show(pcall(function() local n = tonumber("z", 99) return n end))
show(pcall(function() local f = ipairs() return f end))
show((loadstring or load)("x = = 1", "=chunk"))
show((loadstring or load)("for", "=chunk"))

-- Handlers.
show(xpcall(function() fail(1) end, function(e) return "handled " .. tostring(e) end))
show(xpcall(function() return "no error", 2 end, tostring))
show((xpcall(function() error("first") end, function() error("second") end)))
local trace = select(2, xpcall(function() fail(2) end, function(e) return debug.traceback(tostring(e), 1) end))
show(trace:match("^[^\n]*"), trace:find("stack traceback:", 1, true) ~= nil)

-- Through coroutines, metamethods, sort and gsub.
local co = coroutine.create(function() coroutine.yield("first") fail(3) end)
show(coroutine.resume(co))
show(coroutine.resume(co))
show(coroutine.resume(co))
show(coroutine.status(co))
show(pcall(coroutine.wrap(function() error("wrapped", 0) end)))
local touchy = setmetatable({}, {
  __index = function(_, key) error("no field " .. key, 0) end,
  __newindex = function() error("read only", 0) end,
  __add = function() error("no sums", 0) end,
  __call = function(_, x) error("called with " .. tostring(x), 0) end,
})
show(pcall(function() return touchy.name end))
show(pcall(function() touchy.name = 1 end))
show(pcall(function() return touchy + 1 end))
show(pcall(touchy, 9))
show(pcall(table.sort, { 3, 2, 1 }, function() error("cannot compare", 0) end))
show(pcall(string.gsub, "abc", "%w", function(c) if c == "b" then error("found b", 0) end end))

-- A stack overflow is an error like any other.
local function deep(n) return 1 + deep(n + 1) end
local ok, message = pcall(deep, 1)
show(ok, tostring(message):find("stack overflow", 1, true) ~= nil)

-- And many of them: raised at depth, rethrown on the way, counted.
local function raise(depth, code)
  if depth == 0 then fail(code) end
  local good, problem = pcall(raise, depth - 1, code)
  if not good then
    problem.code = problem.code + 1
    error(problem)
  end
end

local sum, texts = 0, {}
for round = 1, rounds do
  local _, problem = pcall(raise, round % 6, round)
  sum = sum + problem.code
  local _, text = pcall(error, "round " .. round % 10, 0)
  texts[text] = (texts[text] or 0) + 1
  local _, handled = xpcall(function() return nothing[round] end, function(m) return #tostring(m) > 10 end)
  assert(handled == true)
end
show("sum", string.format("%d", sum), texts["round 3"], tostring(setmetatable({ code = sum % 1000 }, Failure)))

io.stderr:write("errors.lua leaves with 3\n")
io.write("last words, without a newline")
os.exit(3)
