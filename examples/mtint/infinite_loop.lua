-- An infinite loop is interrupted from another thread.
--
-- A thread looks for a whole number whose double is odd, and would for ever. It
-- sends its id to the main thread, which lets it search for a moment and then
-- interrupts it: the loop gets an error, and `join` returns the message.

local llthreads = require "llthreads2.ex"
local mtmsg     = require "mtmsg"
local mtint     = require "mtint"

local answers = mtmsg.newbuffer()

local thread = llthreads.new(function(answersId)
    local load    = loadstring or load
    local mtint   = require "mtint"
    local answers = require "mtmsg".buffer(answersId)
    answers:addmsg(mtint.id())
    local n = 0
    repeat
        n = n + 1
        -- The detour through `load` is for LuaJIT: a loop compiled to machine code
        -- cannot be interrupted, one that calls the compiler of Lua can.
        local double = load("return 2 * " .. n)()
    until double % 2 == 1
    return n
end, answers:id())

assert(thread:start())
local id = answers:nextmsg()
print("the search has begun")

mtmsg.sleep(0.1)
print("interrupting it")
mtint.interrupt(id)

local ok, err = thread:join()
print("ended well:   " .. tostring(ok))
print("interrupted:  " .. tostring(err:match(mtint.error.interrupted) ~= nil))

-- The state is closed: its id means nothing any more.
local known, why = pcall(mtint.interrupt, id)
print("id is known:  " .. tostring(known))
assert(not ok and not known and why:match(mtint.error.unknown_object))
