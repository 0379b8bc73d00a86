-- Changes its own locals and upvalues under its own feet.

local n = 0
local function step() n = n + 1 end
while true do
  debug.setlocal(1, 1, 0)
  debug.setupvalue(step, 1, 0)
  step()
end
