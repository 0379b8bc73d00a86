-- Runaway: coroutines that protect themselves. Inside each one pcall catches
-- whatever stops the loop; outside, pcall and a fresh coroutine do so again.
local function spin()
  while true do end
end

local function protected()
  while true do pcall(spin) end
end

while true do
  pcall(coroutine.wrap(protected))
end
