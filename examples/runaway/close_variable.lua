-- Runaway: a to-be-closed variable (5.4 and later) whose __close never returns:
-- the loop starts when the scope is left. On older versions and LuaJIT the
-- source does not compile and the same function is called directly.
local function close()
  while true do end
end

local compile = loadstring or load
local scope = compile([[
  local close = ...
  local guard <close> = setmetatable({}, { __close = close })
]])

if scope then scope(close) else close() end
