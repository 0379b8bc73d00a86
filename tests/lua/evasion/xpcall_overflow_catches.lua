-- The handler of a stack overflow catches an error of its own before it is endless. Some overflows have been before, so that LuaJIT has compiled the recursion.

local function overflow() return 1 + overflow() end
local n = 0
local function handler()
  n = n + 1
  if n < 20 then return end
  pcall(error)
  while true do end
end
local co = coroutine.create(function() while true do xpcall(overflow, handler) end end)
while true do coroutine.resume(co) end
