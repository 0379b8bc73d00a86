-- Switches the collector off, and on again.

local n = 0
while true do
  collectgarbage "stop"
  for _ = 1, 1000 do n = n + #{ n } end
  collectgarbage "restart"
  collectgarbage "step"
end
