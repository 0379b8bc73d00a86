-- Two coroutines, each in a call of its own, that resume each other: who is inside whom changes all the time.
-- Only: lua52 lua53 lua54 lua55 luajit

local leash = require "leash"
local a, b
local function body(other)
  return function()
    while true do
      pcall(leash.call, 1000, function()
        coroutine.resume(other())
        coroutine.yield()
      end)
    end
  end
end
while true do
  a = coroutine.create(body(function() return b end))
  b = coroutine.create(body(function() return a end))
  for _ = 1, 100 do
    coroutine.resume(a)
    coroutine.resume(b)
  end
end
