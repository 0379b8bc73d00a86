-- Runaway: allocates garbage for ever. Live memory is one small table at a
-- time, so a memory limit that counts live bytes never ends it.
while true do
  local t = { 1, 2, 3, name = "garbage" }
  t.self = t
end
