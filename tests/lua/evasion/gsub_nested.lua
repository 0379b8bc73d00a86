-- string.gsub inside string.gsub, down to the C stack overflow. (LuaJIT does not limit the depth of C calls: there the plain one runs over the C stack, without Leash, too. See gsub_nested_guarded.)
-- Only: lua51 lua52 lua53 lua54 lua55

local function nest() return (("x"):gsub("x", nest)) end
while true do pcall(nest) end
