-- Resumes a dead coroutine, the running one, and itself.

local dead = coroutine.create(function() end)
coroutine.resume(dead)
local self
self = coroutine.create(function() while true do coroutine.resume(self) coroutine.resume(dead) end end)
while true do coroutine.resume(self) end
