-- Looks at its own stack for ever.

local function walk()
  local level = 0
  while debug.getinfo(level, "Sln") do level = level + 1 end
  return debug.traceback()
end
while true do walk() end
