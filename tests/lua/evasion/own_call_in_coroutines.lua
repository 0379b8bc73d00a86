-- Its own calls in coroutines in its own calls.

local leash = require "leash"
local function spin() while true do end end
local function body() while true do leash.call(1000, spin) end end
while true do leash.call(1000, function() coroutine.wrap(body)() end) end
