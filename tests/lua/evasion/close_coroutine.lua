-- A __close method that runs coroutines, each with variables to close.
-- Only: lua54 lua55

local function spin() while true do end end
local function close()
  while true do
    coroutine.resume(coroutine.create(function()
      local guard <close> = setmetatable({}, { __close = spin })
      error "x"
    end))
  end
end
while true do
  pcall(function() local guard <close> = setmetatable({}, { __close = close }) end)
end
