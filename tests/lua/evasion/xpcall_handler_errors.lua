-- The handler raises an error itself: "error in error handling", or a C stack overflow, for ever.

local function handler(message) error(message) end
while true do xpcall(error, handler, "x") end
