-- A coroutine is interrupted while it runs in another thread.
--
-- Lua 5.2 and later. In Lua 5.1 and LuaJIT mtint gives ids to main states only;
-- there this program says so and ends.
--
-- The thread runs two coroutines. The first never ends and is interrupted by its
-- own id: the error ends this coroutine, not the thread, and the second runs.

if _VERSION == "Lua 5.1" then
    print((jit and jit.version or _VERSION) .. ": coroutines have no ids here, only main states")
    return
end

local llthreads = require "llthreads2.ex"
local mtmsg     = require "mtmsg"
local mtint     = require "mtint"

local answers = mtmsg.newbuffer()

local thread = llthreads.new(function(answersId)
    local mtint   = require "mtint"
    local answers = require "mtmsg".buffer(answersId)

    local endless = coroutine.create(function()
        coroutine.yield(mtint.id())
        answers:addmsg(mtint.id())
        local n = 0
        while true do n = n + 1 end
    end)

    -- Inside and outside the id is the same.
    local _, id = coroutine.resume(endless)
    assert(id == mtint.id(endless) and id ~= mtint.id())

    local ok, err = coroutine.resume(endless)
    assert(not ok and err:match(mtint.error.interrupted))
    local status = coroutine.status(endless)

    local second = coroutine.wrap(function(a, b) return a * b end)
    return status, second(6, 7)
end, answers:id())

assert(thread:start())
local id = answers:nextmsg()
print("the coroutine is running")

mtmsg.sleep(0.1)
print("interrupting it")
mtint.interrupt(id)

local ok, status, product = thread:join()
assert(ok, status)
print("the coroutine is " .. status)
print("its thread went on and calculated " .. product)
