-- An interrupt handler that takes orders: CONTINUE and QUIT.
--
-- A thread adds up numbers. The main thread puts an order in the thread's queue
-- and interrupts it: the handler runs in the middle of the loop, reads the order,
-- reports how far the loop has come, and the loop goes on where it was, until it is
-- told to quit.

local llthreads = require "llthreads2.ex"
local mtmsg     = require "mtmsg"
local mtint     = require "mtint"

local orders  = mtmsg.newbuffer()
local reports = mtmsg.newbuffer()

local thread = llthreads.new(function(ordersId, reportsId)
    local load    = loadstring or load
    local mtmsg   = require "mtmsg"
    local mtint   = require "mtint"
    local orders  = mtmsg.buffer(ordersId)
    local reports = mtmsg.buffer(reportsId)

    local n, sum, quit = 0, 0, false

    mtint.sethook(function()
        local order = orders:nextmsg()
        quit = order == "QUIT"
        reports:addmsg(quit and "QUITTING" or "OK", n)
    end)

    reports:addmsg(mtint.id())
    while not quit do
        n = n + 1
        sum = sum + load("return " .. n)() -- `load`: see infinite_loop.lua
    end
    return n, sum
end, orders:id(), reports:id())

assert(thread:start())
local id = reports:nextmsg()

local before = 0
for _, order in ipairs { "CONTINUE", "CONTINUE", "QUIT" } do
    mtmsg.sleep(0.05)
    orders:addmsg(order)
    mtint.interrupt(id)
    local answer, n = reports:nextmsg()
    print(("%-8s -> %s"):format(order, answer))
    assert(n >= before)
    before = n
end

local ok, n, sum = thread:join()
assert(ok, n)
assert(n >= before and n <= before + 1 and sum == n * (n + 1) / 2)
print("the loop went on between the orders, and its sum is right")
