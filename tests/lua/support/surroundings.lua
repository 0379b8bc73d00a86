-- Where a hostile script may run, other than straight in a call or a watched coroutine. Most bugs that the corpus has found were in none of its scripts, but in how two things met: a finalizer
-- and a guarded function, a protected call and the bottom of a coroutine.
--
-- Each is a function of `leash`, the script (a function that does not return, except by an error), a limit in seconds, and what makes garbage with a finalizer. It returns what the limited call or the resume returned: false and the stop.

local function forever() while true do end end

-- Runs it in a coroutine of its own, resumed by the stock function; anew, should it yield.
local function in_coroutine(script)
  local co = coroutine.create(script)
  while true do assert(coroutine.resume(co)) end
end

-- In a call, whose function does this.
local function call(f)
  return function(leash, script, limit, with_finalizer)
    return leash.call(limit, f, script, leash, with_finalizer)
  end
end

local function stock() return coroutine.resume end

-- In a coroutine that is watched, and resumed by this; the third result: by the stock function.
local function watch(resume_of, f)
  return function(leash, script, limit)
    local co = leash.watch(coroutine.create(f or script), limit)
    local fine, err = resume_of(leash)(co, script)
    return fine, err, resume_of == stock
  end
end

return {
  ["a call in a coroutine"] = function(leash, script, limit)
    return coroutine.wrap(function() return leash.call(limit, script) end)()
  end,
  ["all limits"] = function(leash, script, limit)
    return leash.call({ timeout = limit, memory = 1e12, instructions = 1e15, cpu = 100 }, script)
  end,
  ["a coroutine"] = call(in_coroutine),
  ["coroutine.wrap"] = call(function(script) coroutine.wrap(script)() forever() end),
  ["a longer call"] = call(function(script, leash) while true do leash.call(10, script) end end),
  ["pcall"] = call(function(script) while true do pcall(script) end end),
  ["the end of a coroutine"] = call(function(script)
    coroutine.wrap(function() return pcall(script) end)()
    forever()
  end),
  ["string.gsub"] = call(function(script) string.gsub("x", "x", script) forever() end),
  ["table.sort"] = call(function(script) while true do pcall(table.sort, { 1, 2, 3 }, script) end end),
  ["a metamethod"] = call(function(script)
    local t = setmetatable({}, { __index = script, __concat = script })
    local _ = t.x
    while true do _ = t .. "x" end
  end),
  ["a finalizer"] = call(function(script, _, with_finalizer)
    while true do
      with_finalizer(script)
      collectgarbage()
    end
  end),
  ["a hook"] = call(function(script)
    debug.sethook(function() debug.sethook() script() end, "", 1)
    forever()
  end),
  ["leash.resume"] = watch(function(leash) return leash.resume end),
  ["corowatch.resume"] = watch(function() return require "corowatch".resume end),
  ["a watched one's coroutine"] = watch(stock, in_coroutine),
  -- On LuaJIT this `pcall` may catch what was raised below C code, in a finalizer say (docs/architecture.md); without C code: `leash_watch.lua`.
  ["the end of a watched one"] = not jit and watch(stock, function(script) return pcall(script) end) or nil,
}
