-- Compiles and runs new code for ever.

local compile, n = loadstring or load, 0
while true do
  n = n + 1
  pcall(compile("local a = " .. n .. " while a do end"))
end
