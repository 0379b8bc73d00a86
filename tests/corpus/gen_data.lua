-- Writes all large input files of the corpus into a directory that exists:
--   lua gen_data.lua OUTDIR
-- The files are the same on every run and every Lua version: the program has
-- its own pseudo-random generator and uses integers below 2^53 only. For each
-- file it prints the size and an Adler-32 checksum.

local outdir = assert(arg[1], "usage: gen_data.lua OUTDIR")

-- Lehmer's generator, with the constants of Park and Miller.
local seed = 20240229
local function random(n)
  seed = seed * 16807 % 2147483647
  return seed % n + 1
end

local function pick(list) return list[random(#list)] end

local function adler32(s)
  local a, b = 1, 0
  for i = 1, #s, 64 do
    local last = math.min(i + 63, #s)
    for j = i, last do
      a = a + s:byte(j)
      b = b + a
    end
    a, b = a % 65521, b % 65521
  end
  return b * 65536 + a
end

local function write(name, parts)
  local text = table.concat(parts)
  local file = assert(io.open(outdir .. "/" .. name, "wb"))
  assert(file:write(text))
  file:close()
  print(string.format("%-12s %8d bytes  adler32 %10.0f", name, #text, adler32(text)))
end

-- A vocabulary of 3000 pronounceable words; low numbers are drawn more often.
local vocabulary = {}
do
  local onsets = { "b", "br", "c", "d", "dr", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w" }
  local vowels = { "a", "e", "i", "o", "u", "ai", "ea", "ou" }
  local codas = { "", "", "n", "r", "s", "t", "l", "nd", "sk" }
  local seen = {}
  while #vocabulary < 3000 do
    local word = {}
    for i = 1, random(3) do word[i] = pick(onsets) .. pick(vowels) .. pick(codas) end
    word = table.concat(word)
    if not seen[word] then
      seen[word] = true
      vocabulary[#vocabulary + 1] = word
    end
  end
end

local function word()
  return vocabulary[random(random(random(#vocabulary)))]
end

local function words(n)
  local list = {}
  for i = 1, n do list[i] = word() end
  return table.concat(list, " ")
end

local function sentence()
  local s = words(4 + random(12))
  return s:sub(1, 1):upper() .. s:sub(2) .. pick { ".", ".", ".", "!", "?" }
end

local function paragraph(n)
  local list = {}
  for i = 1, n do list[i] = sentence() end
  return list
end

-- text.txt: prose, wrapped at sentence ends.
do
  local parts = {}
  for _ = 1, 5000 do
    parts[#parts + 1] = table.concat(paragraph(2 + random(6)), "\n") .. "\n\n"
  end
  write("text.txt", parts)
end

-- records.json: an array of nested objects, with escapes, numbers of all
-- forms, null, booleans and empty containers.
do
  local parts = { "[" }
  local count = 3600
  for id = 1, count do
    local tags = {}
    for i = 1, random(6) - 1 do tags[i] = '"' .. word() .. '"' end
    parts[#parts + 1] = string.format(
      '{"id":%d,"name":"%s %s","active":%s,"balance":%d.%02d,"rate":%de-%d,"note":"%s\\n\\"%s\\" \\u00e9\\u20ac\\t\\\\",' ..
      '"tags":[%s],"address":{"street":"%s","number":%d,"geo":[%d.%04d,-%d.%04d]},"extra":%s}%s\n',
      id, word(), word(), pick { "true", "false" }, random(90000) - 30000, random(100) - 1,
      random(999), random(6), sentence(), word(), table.concat(tags, ", "), words(2), random(300),
      random(80), random(9999), random(170), random(9999), pick { "null", "{}", "[]", '"\\/"', "0" },
      id < count and "," or "")
  end
  parts[#parts + 1] = "]\n"
  write("records.json", parts)
end

-- sales.csv: quoted fields with commas and doubled quotes now and then.
do
  local regions = { "North", "South", "East", "West", "\"Overseas, other\"" }
  local products = {}
  for i = 1, 24 do products[i] = vocabulary[i * 40] end
  products[7] = '"7"" pipe, steel"'
  local parts = { "date,region,product,quantity,unit_price\n" }
  for _ = 1, 70000 do
    parts[#parts + 1] = string.format("2024-%02d-%02d,%s,%s,%d,%d.%02d\n",
      random(12), random(28), pick(regions), pick(products), random(40), random(90), random(100) - 1)
  end
  write("sales.csv", parts)
end

-- access.log: one request per line.
do
  local parts = {}
  local second = 0
  for _ = 1, 75000 do
    second = second + random(3) - 1
    parts[#parts + 1] = string.format('10.0.%d.%d [%02d:%02d:%02d] "%s /%s/%s" %d %d\n',
      random(4), random(50), math.floor(second / 3600), math.floor(second / 60) % 60, second % 60,
      pick { "GET", "GET", "GET", "GET", "POST", "HEAD" }, vocabulary[random(12)], vocabulary[random(random(40))],
      pick { 200, 200, 200, 200, 200, 304, 404, 500 }, random(random(20000)))
  end
  write("access.log", parts)
end

-- document.md: headings, paragraphs with inline markup, lists, quotes, code.
do
  local parts = {}
  local function inline(s)
    local n = 0
    return (s:gsub("%a+", function(w)
      n = n + 1
      local kind = random(40)
      if kind == 1 then return "**" .. w .. "**" end
      if kind == 2 then return "*" .. w .. "*" end
      if kind == 3 then return "`" .. w .. " < " .. n .. "`" end
      if kind == 4 then return "[" .. w .. "](https://example.org/" .. w .. "?a=1&b=2)" end
      if kind == 5 then return w .. " & <" .. w .. ">" end
    end))
  end
  for section = 1, 420 do
    parts[#parts + 1] = string.rep("#", 1 + section % 3) .. " " .. inline(words(3)) .. "\n\n"
    for _ = 1, random(3) do
      parts[#parts + 1] = inline(table.concat(paragraph(random(5)), "\n")) .. "\n\n"
    end
    local kind = random(5)
    if kind == 1 or kind == 2 then
      for i = 1, 2 + random(5) do
        parts[#parts + 1] = (kind == 1 and "- " or i .. ". ") .. inline(words(5)) .. "\n"
        if random(4) == 1 then parts[#parts + 1] = "  - " .. words(3) .. "\n  - " .. words(2) .. "\n" end
      end
      parts[#parts + 1] = "\n"
    elseif kind == 3 then
      parts[#parts + 1] = "> " .. inline(sentence()) .. "\n> " .. sentence() .. "\n\n"
    elseif kind == 4 then
      parts[#parts + 1] = "```lua\nif a < b and *c* then\n  return \"" .. word() .. "\"\nend\n```\n\n"
    else
      parts[#parts + 1] = "---\n\n"
    end
  end
  write("document.md", parts)
end

-- numbers.txt: integers, some lines with several, some of them negative.
do
  local parts = {}
  for _ = 1, 180000 do
    local line = {}
    for i = 1, random(3) do line[i] = random(2000000) - 1000000 end
    parts[#parts + 1] = table.concat(line, " ") .. "\n"
  end
  write("numbers.txt", parts)
end
