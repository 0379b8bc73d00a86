-- Its own calls, fifty deep, each of which would begin again.

local leash = require "leash"
local function level(depth)
  while true do
    if depth == 0 then while true do end end
    leash.call(1000, level, depth - 1)
  end
end
level(50)
