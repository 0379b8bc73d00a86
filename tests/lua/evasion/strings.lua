-- Builds strings for ever.

local s = ""
while true do
  s = s .. "x"
  if #s > 10000 then s = "" end
end
