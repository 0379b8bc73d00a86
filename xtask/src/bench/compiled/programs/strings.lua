-- Strings: built byte by byte and by concat, cut, searched, turned around; a cipher, a run-length code and a table of words.
-- Usage: strings.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 20
local byte, char, find, sub, rep = string.byte, string.char, string.find, string.sub, string.rep
local concat = table.concat

local seed = 42
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n
end

local function text(words)
  local parts = {}
  for i = 1, words do
    local letters = {}
    for k = 1, 2 + random(7) do letters[k] = char(97 + random(26)) end
    parts[i] = concat(letters)
  end
  return concat(parts, " ")
end

local function rotate(s, by)
  local out = {}
  for i = 1, #s do
    local b = byte(s, i)
    if b >= 97 and b <= 122 then b = 97 + (b - 97 + by) % 26 end
    out[i] = char(b)
  end
  return concat(out)
end

local function words_of(s)
  local counts, from, number = {}, 1, 0
  while true do
    local at = find(s, " ", from, true)
    local word = sub(s, from, at and at - 1)
    counts[word] = (counts[word] or 0) + 1
    number = number + 1
    if not at then return counts, number end
    from = at + 1
  end
end

local function packed(s)
  local out, n, i = {}, 0, 1
  while i <= #s do
    local b, k = byte(s, i), i
    while byte(s, k + 1) == b do k = k + 1 end
    n = n + 1
    out[n] = (k - i + 1) .. char(b)
    i = k + 1
  end
  return concat(out, ",")
end

local function unpacked(s)
  local out, n = {}, 0
  for count, c in string.gmatch(s, "(%d+)(.),?") do
    n = n + 1
    out[n] = rep(c, tonumber(count))
  end
  return concat(out)
end

local function is_palindrome(s)
  local i, k = 1, #s
  while i < k do
    if byte(s, i) ~= byte(s, k) then return false end
    i, k = i + 1, k - 1
  end
  return true
end

local function checksum(s)
  local a, b = 1, 0
  for i = 1, #s do
    a = (a + byte(s, i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local sum, words, palindromes, length = 0, 0, 0, 0
for round = 1, rounds do
  local plain = text(1200)
  local secret = rotate(plain, round)
  assert(rotate(secret, 26 - round % 26) == plain)
  local counts, number = words_of(secret)
  words = words + number
  for word, count in pairs(counts) do
    if is_palindrome(word) then palindromes = palindromes + count end
  end
  local runs = {}
  for i = 1, 400 do runs[i] = rep(char(97 + random(26)), 1 + random(9)) end
  local long = concat(runs)
  local code = packed(long)
  assert(unpacked(code) == long)
  length = length + #code
  local line = ""
  for i = 1, 200 do line = line .. sub(plain, i, i + 2) end
  sum = (sum + checksum(secret) + checksum(line)) % 4294967296
end
print(string.format("%d rounds: %d words, %d palindromes, %d bytes packed, sum %.0f", rounds, words, palindromes, length, sum))
