-- Counts lines, words and bytes and prints the ten commonest words.
-- Usage: wordcount.lua [FILE]    (without FILE it reads itself)
local file = assert(io.open(arg and arg[1] or arg[0], "rb"))
local text = file:read("*a")
file:close()

local _, lines = text:gsub("\n", "")
local words, list, total = {}, {}, 0
for word in text:lower():gmatch("%a+") do
  if not words[word] then
    words[word] = 0
    list[#list + 1] = word
  end
  words[word] = words[word] + 1
  total = total + 1
end

table.sort(list, function(a, b)
  if words[a] ~= words[b] then return words[a] > words[b] end
  return a < b
end)

print(string.format("%d lines, %d words, %d bytes", lines, total, #text))
for i = 1, math.min(10, #list) do
  print(string.format("%6d  %s", words[list[i]], list[i]))
end
