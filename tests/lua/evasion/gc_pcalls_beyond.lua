-- Finalizers that go on in protected calls in the handler of a stack overflow, where calls are deeper than they may be; and between them, a function of the library.

local function spin() while true do end end
local function catch() while true do pcall(spin) end end
local function catch_twice() while true do pcall(catch) end end
local function catch_in_callback() while true do pcall(string.gsub, "x", "x", catch_twice) end end
local function overflow() return 1 + overflow() end
local function finish(f)
  return function()
    for _ = 1, 3 do pcall(overflow) end
    while true do xpcall(overflow, f) end
  end
end
with_finalizer(finish(catch))
with_finalizer(finish(catch_twice))
with_finalizer(finish(catch_in_callback))

-- The same, but it is what is collected there that is endless.
for _, f in ipairs { catch, catch_twice, catch_in_callback } do
  pcall(overflow)
  xpcall(overflow, function()
    with_finalizer(f)
    pcall(collectgarbage)
  end)
end
while true do collectgarbage() end
