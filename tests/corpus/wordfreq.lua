-- Word frequencies of DATA/text.txt: the commonest words, how many words
-- occur how often, the lengths, and an index of initial letters.
local file = assert(io.open(arg[1] .. "/text.txt", "rb"))
local text = file:read("*a")
file:close()

local counts, order = {}, {}
local lengths, followers = {}, {}
local total, previous = 0, nil
for raw in text:gmatch("%a+") do
  local word = raw:lower()
  local n = counts[word]
  if not n then
    order[#order + 1] = word
    n = 0
  end
  counts[word] = n + 1
  total = total + 1
  lengths[#word] = (lengths[#word] or 0) + 1
  if previous then
    local pair = previous .. " " .. word
    followers[pair] = (followers[pair] or 0) + 1
  end
  previous = word
end

table.sort(order, function(a, b)
  local ca, cb = counts[a], counts[b]
  if ca ~= cb then return ca > cb end
  return a < b
end)

print(string.format("%d words, %d different", total, #order))
print("\nthe commonest words")
local running = 0
for rank = 1, 25 do
  local word = order[rank]
  running = running + counts[word]
  print(string.format("%4d. %-20s %6d  %6.3f %%  %6.2f %%", rank, word, counts[word],
    100 * counts[word] / total, 100 * running / total))
end

local pairs_list = {}
for pair, n in pairs(followers) do
  if n > 1 then pairs_list[#pairs_list + 1] = { pair = pair, n = n } end
end
table.sort(pairs_list, function(a, b)
  if a.n ~= b.n then return a.n > b.n end
  return a.pair < b.pair
end)
print(string.format("\n%d pairs occur more than once; the commonest", #pairs_list))
for i = 1, 10 do
  print(string.format("%6d  %s", pairs_list[i].n, pairs_list[i].pair))
end

print("\nlength  words")
for length = 1, 40 do
  if lengths[length] then
    print(string.format("%6d  %6d  %s", length, lengths[length], ("*"):rep(math.floor(60 * lengths[length] / total))))
  end
end

print("\ninitial  different  longest")
local initials, letters = {}, {}
for _, word in ipairs(order) do
  local letter = word:sub(1, 1)
  local entry = initials[letter]
  if not entry then
    entry = { n = 0, longest = "" }
    initials[letter] = entry
    letters[#letters + 1] = letter
  end
  entry.n = entry.n + 1
  if #word > #entry.longest or (#word == #entry.longest and word < entry.longest) then entry.longest = word end
end
table.sort(letters)
for _, letter in ipairs(letters) do
  print(string.format("%-7s  %9d  %s", letter, initials[letter].n, initials[letter].longest))
end
