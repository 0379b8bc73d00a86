-- leash.guard_stdlib: the guarded `pcall` and `xpcall` do the same as the originals. (That a finalizer cannot hide behind them is tested in Rust, and by `evasion/gc_fails_slowly.lua`.)
--
--   LUA_PATH='tests/lua/?.lua' LUA_CPATH='target/modules/lua54/?.so' lua5.4 tests/lua/guard_stdlib_pcall.lua
--
-- LuaJIT needs none, and keeps its own.

local check = require "support.check"
local test, equal, ok, raises = check.test, check.equal, check.ok, check.raises
local unpack = table.unpack or unpack

local original = { pcall = pcall, xpcall = xpcall }
local leash = require "leash"
leash.guard_stdlib()
local guarded = { pcall = pcall, xpcall = xpcall }

local function pack(...) return { n = select("#", ...), ... } end

-- f gets `pcall` and `xpcall`, which are the global functions meanwhile, for messages look there for names, and is called twice; what comes of it is the same.
local function same(what, f, ...)
  local said = {}
  for i, all in ipairs { original, guarded } do
    _G.pcall, _G.xpcall = all.pcall, all.xpcall
    said[i] = pack(original.pcall(f, all.pcall, all.xpcall, ...))
  end
  local expected, got = said[1], said[2]
  equal(got.n, expected.n, what)
  for i = 1, expected.n do equal(got[i], expected[i], what .. ", value " .. i) end
end

test("they are replaced, but for LuaJIT", function()
  for name, f in pairs(original) do
    equal(guarded[name] ~= f, check.engine ~= "luajit", name)
    equal(debug.getinfo(guarded[name], "S").what, "C")
    equal(debug.getupvalue(guarded[name], 1), nil)
  end
  equal(leash.guard_stdlib(), _G)
  equal(pcall, guarded.pcall)
end)

test("an environment of one's own", function()
  local env = leash.guard_stdlib { string = {}, pcall = original.pcall, try = original.xpcall, xpcall = print, error = error }
  if check.engine == "lua51" then -- there each is a function of its own
    ok(env.pcall ~= original.pcall and env.try ~= original.xpcall)
  else
    equal(env.pcall, guarded.pcall)
    equal(env.try, guarded.xpcall)
  end
  equal(env.xpcall, print) -- not the original
  equal(env.error, error)
  equal(leash.guard_stdlib({ string = {} }).pcall, nil) -- taken away: stays away
end)

test("results and errors", function()
  local object = setmetatable({}, { __tostring = function() return "object" end })
  local function count(...) return select("#", ...), ... end
  local function throws(e) error(e, 0) end
  local function throws_here() error "here" end
  local handlers = {
    tostring, type, function(e) return e, 2 end, function() end, function(e) error(e, 0) end, throws_here, error,
    function(e) return (tostring(e):gsub("0x%x+", "")) end,
  }
  for _, f in ipairs { count, throws, throws_here, error, select, tonumber, math.abs, string.rep, "no function", {}, false, 7 } do
    for _, args in ipairs { { n = 0 }, { n = 1 }, { n = 1, 3 }, { n = 3, nil, 1 }, { n = 2, "x", 4 }, { n = 1, object } } do
      same("pcall", function(try) return try(f, unpack(args, 1, args.n)) end)
      same("pcall of pcall", function(try) return try(try, f, unpack(args, 1, args.n)) end)
      for _, handler in ipairs(handlers) do
        same("xpcall", function(_, try) return try(f, handler, unpack(args, 1, args.n)) end)
      end
    end
  end
  same("many results", function(try) return select("#", try(unpack, {}, 1, 5000)) end)
  same("many arguments", function(try) return select("#", try(count, unpack({}, 1, 5000))) end)
end)

test("wrong arguments", function()
  -- Called from code that names them, as a field of a table that it does not know, and from C.
  for _, name in ipairs { "pcall", "xpcall" } do
    local texts = {}
    for i, all in ipairs { original, guarded } do
      local pcall, xpcall, t = all.pcall, all.xpcall, { f = all[name] }
      local list = pack(
        original.pcall(function() pcall() end), original.pcall(function() xpcall() end), original.pcall(function() xpcall(print) end),
        original.pcall(function() xpcall(print, 7) end), original.pcall(function() return (t.f()) end))
      _G[name] = all[name]
      list[#list + 1] = select(2, original.pcall(all[name]))
      list[#list + 1] = select(2, all.pcall(all[name]))
      texts[i] = list
    end
    for k = 1, 7 do equal(texts[2][k], texts[1][k], name .. " " .. k) end
  end
  raises("bad argument #1 to 'pcall' (value expected)", function() pcall() end)
end)

test("tracebacks", function()
  local function deep(n) if n == 0 then error("deep", 0) end return (deep(n - 1)) end
  -- From `xpcall` inwards: outside is `same`, which calls both by another name.
  local function trace(e) return (debug.traceback(e):match "^.-in %S+ 'xpcall'") end
  same("of xpcall", function(_, xpcall) local _, said = xpcall(deep, trace, 3) ok(#said > 50, said) return said end)
end)

test("stack overflow, and calls of C code inside each other", function()
  local function overflow() return 1 + overflow() end
  same("overflow", function(pcall) return (pcall(overflow)) end)
  same("overflow, handled", function(_, xpcall) return xpcall(overflow, type) end)
  local function depth(pcall)
    local n = 0
    local function nest() n = n + 1 local fine, e = pcall(nest) if not fine then error(e, 0) end end
    local fine, e = original.pcall(nest)
    return n > 100, fine, type(e)
  end
  same("nested", depth)
end)

if check.engine ~= "lua51" then
  test("they can be yielded across", function()
    same("yields", function(pcall, xpcall)
      local co = coroutine.wrap(function(...)
        local a = pack(pcall(function(...)
          local x = coroutine.yield(...)
          local y = coroutine.yield(x + 1)
          error({ y }, 0)
        end, ...))
        local b = pack(xpcall(function(x) return coroutine.yield(x) * 2 end, type, 5))
        local c = pack(xpcall(function() error(coroutine.yield "last", 0) end, function(e) return e .. "!" end))
        return a[1], a[2][1], b[1], b[2], c[1], c[2]
      end)
      local said = pack(co(1, 2))
      local second, third, last = co(10), co "y", co(21)
      return said[1], said[2], second, third, last, co "end"
    end)
    same("yields through both at once", function(pcall)
      local co = coroutine.wrap(function() return pcall(original.pcall, guarded.pcall, coroutine.yield, "x") end)
      local first = co()
      return first, co("back", 2)
    end)
  end)
end

test("a limit goes past them, in the main state and in coroutines", function()
  local function spin() while true do end end
  local function catch() while true do pcall(spin) xpcall(spin, type) end end
  for _, f in ipairs { catch, function() coroutine.wrap(catch)() end, function() pcall(pcall, xpcall, catch, catch) end } do
    local fine, err = leash.call(0.02, f)
    equal(fine, false)
    equal(leash.reason(err), "timeout")
  end
  ok(pcall(leash.call, 1, function() end))
end)

check.finish()
