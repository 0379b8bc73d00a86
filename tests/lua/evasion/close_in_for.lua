-- The closing value of a generic for.
-- Only: lua54 lua55

local function spin() while true do end end
while true do
  pcall(function()
    for _ in function() return 1 end, nil, nil, setmetatable({}, { __close = spin }) do error "x" end
  end)
end
