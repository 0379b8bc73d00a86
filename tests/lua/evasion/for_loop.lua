-- A numeric for up to infinity.

while true do for _ = 1, math.huge do end end
