-- Memory: catches the memory error, keeps what it has and goes on hoarding.
-- Under a memory limit it never ends: at the limit each round fails at once.
-- (LuaJIT 2.1.0-beta3 with the JIT on may crash when malloc fails, as under
-- ulimit -v; with -joff it does not.)
local hoard = {}

local function grab()
  while true do
    hoard[#hoard + 1] = string.rep("x", 10000) .. #hoard
  end
end

while true do
  pcall(grab)
end
