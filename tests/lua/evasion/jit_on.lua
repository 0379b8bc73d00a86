-- Switches the compiler on, for itself and for all.
-- Only: luajit

local function spin() local n = 0 while true do n = (n + 1) % 7 end end
while true do
  jit.on()
  jit.on(spin, true)
  pcall(spin)
end
