-- load asks its reader for pieces of a program that never ends.

while true do pcall(load, function() return "local a = 1 " end) end
