-- Prints the arguments, as `arg` and as `...`. The folder of the script is cut
-- off arg[0]; arg[-1] (the interpreter) is left out, as it is not the same everywhere.
print("script", (arg[0]:gsub("^.*[/\\]", "")))
print("#arg", #arg)
for i = 1, #arg do print("arg[" .. i .. "]", type(arg[i]), string.format("%q", arg[i])) end

local given = { ... }
print("...", select("#", ...))
for i = 1, select("#", ...) do
  print(i, given[i] == arg[i], (select(i, ...)))
end

local sum = 0
for _, a in ipairs(arg) do sum = sum + (tonumber(a) or 0) end
print("sum of the numbers", string.format("%g", sum))
