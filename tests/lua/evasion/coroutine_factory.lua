-- Makes coroutines for ever, abandons each half-way.

local function body(n) for i = 1, 10 do n = n + i end coroutine.yield(n) end
while true do coroutine.resume(coroutine.create(body), 1) end
