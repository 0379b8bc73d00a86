-- Runaway: a __gc finalizer that never returns.
-- Lua runs finalizers with hooks turned off: a debug hook never sees this loop.
local function finalizer()
  while true do end
end

if newproxy then   -- 5.1 and LuaJIT: only userdata have finalizers
  getmetatable(newproxy(true)).__gc = finalizer
else
  setmetatable({}, { __gc = finalizer })
end

collectgarbage()
collectgarbage()
