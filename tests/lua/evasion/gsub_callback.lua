-- string.gsub calls a function that never returns.

while true do pcall(string.gsub, "abc", ".", function() while true do end end) end
