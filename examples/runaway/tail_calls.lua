-- Runaway: two functions that tail-call each other.
-- No loop statement anywhere, and the stack does not grow.
local ping, pong

function ping(n) return pong(n + 1) end
function pong(n) return ping(n - 1) end

ping(0)
