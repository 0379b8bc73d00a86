-- The guarded string.gsub inside itself, down to the C stack overflow, which LuaJIT does not notice by itself.
-- Needs: guard_stdlib

local function nest() return (("x"):gsub("x", nest)) end
while true do pcall(nest) end
