-- Inside each coroutine pcall catches what stops the loop; outside, a fresh one does so again.

local function spin() while true do end end
local function protected() while true do pcall(spin) end end
while true do pcall(coroutine.wrap(protected)) end
