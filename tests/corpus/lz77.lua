-- An LZ77 compressor with hash chains: packs the first SIZE bytes of
-- DATA/text.txt, unpacks them and checks the round trip.
-- Usage: lz77.lua DATA [SIZE]
-- Format: a flag byte for eight items, lowest bit first; 0: one literal byte,
-- 1: a match, two bytes distance and one byte length - 4.
local window, min_match, max_match, max_chain = 32768, 4, 259, 24

local function compress(text)
  local out, items, flags, flag_bit = {}, {}, 0, 1
  local heads, previous = {}, {}
  local byte, char, sub = string.byte, string.char, string.sub
  local size = #text

  local function item(is_match, bytes)
    if is_match then flags = flags + flag_bit end
    items[#items + 1] = bytes
    flag_bit = flag_bit * 2
    if flag_bit == 256 then
      out[#out + 1] = char(flags) .. table.concat(items)
      items, flags, flag_bit = {}, 0, 1
    end
  end

  local function remember(pos)
    local key = sub(text, pos, pos + min_match - 1)
    previous[pos] = heads[key]
    heads[key] = pos
  end

  local pos, matches = 1, 0
  while pos <= size do
    local best, from = min_match - 1, nil
    local candidate = pos + min_match - 1 <= size and heads[sub(text, pos, pos + min_match - 1)]
    local limit = math.min(max_match, size - pos + 1)
    local tries = max_chain
    while candidate and pos - candidate < window and tries > 0 do
      if byte(text, candidate + best) == byte(text, pos + best) then
        local n = min_match
        while n < limit and byte(text, candidate + n) == byte(text, pos + n) do n = n + 1 end
        if n > best then
          best, from = n, candidate
          if n == limit then break end
        end
      end
      candidate = previous[candidate]
      tries = tries - 1
    end
    if from then
      local distance = pos - from
      item(true, char(math.floor(distance / 256), distance % 256, best - min_match))
      matches = matches + 1
      for i = pos, pos + best - 1 do remember(i) end
      pos = pos + best
    else
      item(false, sub(text, pos, pos))
      remember(pos)
      pos = pos + 1
    end
  end
  if #items > 0 then out[#out + 1] = char(flags) .. table.concat(items) end
  return table.concat(out), matches
end

local function decompress(packed)
  local bytes, n, pos = {}, 0, 1
  local byte = string.byte
  while pos <= #packed do
    local flags = byte(packed, pos)
    pos = pos + 1
    for _ = 1, 8 do
      if pos > #packed then break end
      if flags % 2 == 1 then
        local high, low, length = byte(packed, pos, pos + 2)
        local distance = high * 256 + low
        for i = n + 1, n + length + min_match do bytes[i] = bytes[i - distance] end
        n = n + length + min_match
        pos = pos + 3
      else
        n = n + 1
        bytes[n] = byte(packed, pos)
        pos = pos + 1
      end
      flags = math.floor(flags / 2)
    end
  end
  local parts = {}
  for i = 1, n do parts[i] = string.char(bytes[i]) end
  return table.concat(parts)
end

local function checksum(s)
  local h = 0
  for i = 1, #s do h = (h * 31 + s:byte(i)) % 4294967296 end
  return h
end

local file = assert(io.open(arg[1] .. "/text.txt", "rb"))
local text = file:read(tonumber(arg[2]) or 500000)
file:close()

for _, sample in ipairs { "", "a", "abcdabcd", ("ab"):rep(1000), text } do
  local packed, matches = compress(sample)
  local back = decompress(packed)
  print(string.format("%7d -> %7d bytes, %6d matches, checksum %10.0f, round trip %s",
    #sample, #packed, matches, checksum(packed), back == sample and "ok" or "BROKEN"))
  if back ~= sample then os.exit(1) end
end
