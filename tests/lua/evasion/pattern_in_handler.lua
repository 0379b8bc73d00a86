-- The message handler of xpcall matches for ever.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
local function forever() return s:find(("a*"):rep(30) .. "b") end
while true do xpcall(error, forever) end
