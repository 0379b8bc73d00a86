-- Tunes the compiler while it is at work.
-- Only: luajit

local function work() local n = 0 for i = 1, 1000 do n = n + i end return n end
while true do
  jit.opt.start("hotloop=2", "hotexit=2")
  for _ = 1, 100 do work() end
  jit.opt.start(3)
end
