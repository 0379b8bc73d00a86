-- Collects a table with weak keys, each value of which is the next key, in an order that has the collector go through it again and again: from 5.2 on the square of their number, and nothing interrupts it.

local n = 8000
local function chain()
  local keys, t = {}, setmetatable({}, { __mode = "k" })
  for i = 1, n do keys[i] = {} end
  for i = n, 2, -1 do
    local k = math.random(i)
    keys[i], keys[k] = keys[k], keys[i]
  end
  for i = 1, n - 1 do t[keys[i]] = keys[i + 1] end
  return t, keys[1]
end
local t, first = chain()
while true do collectgarbage() end
