-- Huffman coding of DATA/text.txt: builds the code with a binary heap, encodes
-- to a string of bits packed into bytes, decodes and compares.
-- Usage: huffman.lua DATA [SIZE]
local function push(heap, node)
  local i = #heap + 1
  heap[i] = node
  while i > 1 do
    local parent = math.floor(i / 2)
    if not (heap[i] < heap[parent]) then break end
    heap[i], heap[parent] = heap[parent], heap[i]
    i = parent
  end
end

local function pop(heap)
  local top, last = heap[1], table.remove(heap)
  if #heap == 0 then return top end
  heap[1] = last
  local i = 1
  while true do
    local child = 2 * i
    if child > #heap then break end
    if child < #heap and heap[child + 1] < heap[child] then child = child + 1 end
    if not (heap[child] < heap[i]) then break end
    heap[i], heap[child] = heap[child], heap[i]
    i = child
  end
  return top
end

-- Nodes compare by weight, then by the lowest byte below them.
local Node = {}
Node.__lt = function(a, b)
  if a.weight ~= b.weight then return a.weight < b.weight end
  return a.lowest < b.lowest
end

local function build(text)
  local weights = {}
  for i = 1, #text do
    local b = text:byte(i)
    weights[b] = (weights[b] or 0) + 1
  end
  local heap = {}
  for b = 0, 255 do
    if weights[b] then push(heap, setmetatable({ weight = weights[b], lowest = b, byte = b }, Node)) end
  end
  while #heap > 1 do
    local a, b = pop(heap), pop(heap)
    push(heap, setmetatable({ weight = a.weight + b.weight, lowest = math.min(a.lowest, b.lowest), a, b }, Node))
  end
  return heap[1], weights
end

local function codes_of(tree)
  local codes = {}
  local function walk(node, prefix)
    if node.byte then codes[node.byte] = prefix return end
    walk(node[1], prefix .. "0")
    walk(node[2], prefix .. "1")
  end
  walk(tree, "")
  return codes
end

local function encode(text, codes)
  local by_char = {}
  for b, code in pairs(codes) do by_char[string.char(b)] = code end
  local out, buffer = {}, ""
  for from = 1, #text, 1024 do
    buffer = buffer .. text:sub(from, from + 1023):gsub(".", by_char):gsub("\n", by_char)
    local whole = #buffer - #buffer % 8
    out[#out + 1] = buffer:sub(1, whole):gsub("........", function(bits)
      return string.char(tonumber(bits, 2))
    end)
    buffer = buffer:sub(whole + 1)
  end
  local padding = (8 - #buffer) % 8
  if #buffer > 0 then out[#out + 1] = string.char(tonumber(buffer .. ("0"):rep(padding), 2)) end
  return table.concat(out), padding
end

local function decode(packed, tree, length)
  local out, n = {}, 0
  local node = tree
  for i = 1, #packed do
    local byte = packed:byte(i)
    for shift = 7, 0, -1 do
      local bit = math.floor(byte / 2 ^ shift) % 2
      node = node[bit + 1]
      if node.byte then
        n = n + 1
        out[n] = string.char(node.byte)
        if n == length then return table.concat(out) end
        node = tree
      end
    end
  end
  return table.concat(out)
end

local file = assert(io.open(arg[1] .. "/text.txt", "rb"))
local text = file:read(tonumber(arg[2]) or 600000)
file:close()

local tree, weights = build(text)
local codes = codes_of(tree)
for b = 0, 255 do
  if codes[b] then
    print(string.format("%3d %s %7d %s", b, b > 32 and string.char(b) or " ", weights[b], codes[b]))
  end
end
local packed, padding = encode(text, codes)
print(string.format("%d bytes -> %d bytes, %d bits of padding", #text, #packed, padding))
local back = decode(packed, tree, #text)
print(back == text and "round trip ok" or "ROUND TRIP BROKEN")
if back ~= text then os.exit(1) end
