-- coroutine.close runs a __close method that never returns.
-- Only: lua54 lua55

local function spin() while true do end end
while true do
  local co = coroutine.create(function()
    local guard <close> = setmetatable({}, { __close = spin })
    coroutine.yield()
  end)
  coroutine.resume(co)
  pcall(coroutine.close, co)
end
