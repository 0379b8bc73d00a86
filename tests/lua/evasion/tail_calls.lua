-- Two functions that call each other in tail position; the stack does not grow.

local ping, pong
function ping(n) return pong(n + 1) end
function pong(n) return ping(n - 1) end
while true do pcall(ping, 0) end
