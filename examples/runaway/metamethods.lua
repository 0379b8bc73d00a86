-- Runaway: a chain of 20 __index functions; the last one never returns.
-- It loops over __add and __lt, so all that ever runs is metamethods.
local Number = {}
Number.__index = Number
Number.__add = function(a, b) return setmetatable({ v = a.v + b.v }, Number) end
Number.__lt = function() return true end

local one = setmetatable({ v = 1 }, Number)
local object = setmetatable({}, {
  __index = function()
    local n = one
    while one < n + one do n = n + one end
    return n
  end,
})

for _ = 1, 19 do
  local inner = object
  object = setmetatable({}, { __index = function(_, key) return inner[key] end })
end

print(object.missing)
