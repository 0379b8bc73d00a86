-- Throws all compiled code away, and has it compiled anew.
-- Only: luajit

local function work() local n = 0 for i = 1, 1000 do n = n + i end return n end
while true do
  for _ = 1, 100 do work() end
  jit.flush()
end
