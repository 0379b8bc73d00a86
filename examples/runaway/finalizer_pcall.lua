-- Runaway: a __gc finalizer that is endless and protects itself with pcall,
-- so an error raised inside it is caught inside it.
local function spin()
  while true do end
end

local function finalizer()
  while true do pcall(spin) end
end

if newproxy then   -- 5.1 and LuaJIT: only userdata have finalizers
  getmetatable(newproxy(true)).__gc = finalizer
else
  setmetatable({}, { __gc = finalizer })
end

collectgarbage()
collectgarbage()
