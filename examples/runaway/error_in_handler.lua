-- Runaway: the message handler of xpcall raises an error itself, for ever.
-- Lua answers with "error in error handling" or "C stack overflow" and goes on.
local function handler(message)
  error("the handler failed as well: " .. tostring(message))
end

while true do
  xpcall(function() error("boom") end, handler)
end
