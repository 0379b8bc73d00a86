-- Coroutines that are resumed from metamethods, where nothing can yield.

local function spin() while true do end end
local object = setmetatable({}, { __index = function() return coroutine.resume(coroutine.create(spin)) end })
while true do pcall(function() return object.x end) end
