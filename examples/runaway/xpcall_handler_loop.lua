-- Runaway: an xpcall message handler that never returns.
-- The handler runs before the stack is unwound, so the error is never delivered.
local function handler()
  while true do end
end

xpcall(error, handler, "boom")
