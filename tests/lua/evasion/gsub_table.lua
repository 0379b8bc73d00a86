-- string.gsub asks a table whose __index never returns.

local t = setmetatable({}, { __index = function() while true do end end })
while true do pcall(string.gsub, "abc", ".", t) end
