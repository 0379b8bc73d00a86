-- Runaway: endless concatenation. Memory stays bounded (the string starts
-- afresh at 10 kB), so only a time limit ends it, not a memory limit.
local s = ""
while true do
  s = s .. "x"
  if #s > 10000 then s = "" end
end
