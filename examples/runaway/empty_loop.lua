-- Runaway: an empty loop. No call, no allocation, nothing but a backward jump.
while true do end
