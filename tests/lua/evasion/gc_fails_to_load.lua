-- Finalizers that do nothing but load long texts that are wrong at their ends.

local text = ("f() "):rep(5000) .. "x x"
local function load_text() (loadstring or load)(text) end
local function load_pieces() load(function() return text end) end
local function load_inside() pcall(load, text) end
for _, f in ipairs { load_text, load_pieces, load_inside } do
  with_finalizer(function() while true do f() end end)
end
while true do collectgarbage() end
