-- string.gsub inside string.gsub, down to the C stack overflow.

local function nest() return (("x"):gsub("x", nest)) end
while true do pcall(nest) end
