-- Thousands of suspended calls whose time is up, dropped and made again.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local all = {}
while true do
  for i = 1, 2000 do
    all[i] = coroutine.create(function() leash.call(0.001, function() while true do pcall(coroutine.yield) end end) end)
    coroutine.resume(all[i])
  end
  for i = 1, 2000, 3 do coroutine.resume(all[i]) end
end
