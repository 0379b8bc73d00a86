-- Catches every error and raises it again, from one coroutine to the next.

local function spin() while true do end end
local function body()
  while true do
    local fine, e = pcall(spin)
    pcall(error, e)
    pcall(coroutine.wrap(function() error(e) end))
  end
end
while true do pcall(body) end
