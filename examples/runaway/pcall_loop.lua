-- Runaway: an endless function called through pcall, over and over.
-- An error raised to stop `spin` is caught here, and the loop calls it again.
local function spin()
  while true do end
end

while true do
  pcall(spin)
end
