-- Memory: a table that grows by one element at a time, for ever.
-- With no limit it ends only when the machine has no memory left.
local t = {}
while true do
  t[#t + 1] = { #t }
end
