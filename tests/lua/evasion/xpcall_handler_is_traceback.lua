-- The handler is a C function that walks the stack.

local function spin(n) if n > 0 then return 1 + spin(n - 1) end while true do end end
while true do xpcall(function() spin(50) end, debug.traceback) end
