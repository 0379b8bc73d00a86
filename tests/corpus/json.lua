-- A JSON parser and pretty printer: parses DATA/records.json, prints it
-- indented, parses what it printed and checks that nothing was lost.
local null = {}
local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8_encode(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  end
  return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function parse(text)
  local pos = 1
  local value

  local function fail(what)
    local _, line = text:sub(1, pos):gsub("\n", "")
    error(string.format("line %d: %s expected", line + 1, what), 0)
  end

  local function skip()
    pos = text:find("[^ \t\r\n]", pos) or #text + 1
    return text:byte(pos)
  end

  local function string_value()
    local parts
    local from = pos + 1
    while true do
      local stop = text:find('["\\]', from) or fail("closing quote")
      local piece = text:sub(from, stop - 1)
      if text:byte(stop) == 34 then
        pos = stop + 1
        if not parts then return piece end
        parts[#parts + 1] = piece
        return table.concat(parts)
      end
      parts = parts or {}
      parts[#parts + 1] = piece
      local letter = text:sub(stop + 1, stop + 1)
      if letter == "u" then
        parts[#parts + 1] = utf8_encode(tonumber(text:sub(stop + 2, stop + 5), 16) or fail("four hex digits"))
        from = stop + 6
      else
        parts[#parts + 1] = escapes[letter] or fail("escape letter")
        from = stop + 2
      end
    end
  end

  local function array()
    local list = { kind = "array" }
    pos = pos + 1
    if skip() == 93 then pos = pos + 1 return list end
    while true do
      list[#list + 1] = value()
      local c = skip()
      pos = pos + 1
      if c == 93 then return list end
      if c ~= 44 then fail("',' or ']'") end
    end
  end

  local function object()
    local keys, fields = {}, {}
    local result = { kind = "object", keys = keys, fields = fields }
    pos = pos + 1
    if skip() == 125 then pos = pos + 1 return result end
    while true do
      if skip() ~= 34 then fail("key") end
      local key = string_value()
      if skip() ~= 58 then fail("':'") end
      pos = pos + 1
      keys[#keys + 1] = key
      fields[key] = value()
      local c = skip()
      pos = pos + 1
      if c == 125 then return result end
      if c ~= 44 then fail("',' or '}'") end
    end
  end

  local words = { ["true"] = true, ["false"] = false, null = null }

  function value()
    local c = skip()
    if c == 34 then return string_value() end
    if c == 123 then return object() end
    if c == 91 then return array() end
    local first, last = text:find("^-?%d+%.?%d*[eE]?[+-]?%d*", pos)
    if first then
      pos = last + 1
      return tonumber(text:sub(first, last)) or fail("number")
    end
    local name = text:match("^%a+", pos) or fail("value")
    if words[name] == nil then fail("value") end
    pos = pos + #name
    return words[name]
  end

  local result = value()
  if skip() then fail("end of text") end
  return result
end

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    if c == '"' or c == "\\" then return "\\" .. c end
    if c == "\n" then return "\\n" end
    if c == "\t" then return "\\t" end
    return string.format("\\u%04x", c:byte())
  end) .. '"'
end

local function pretty(root)
  local out = {}
  local function emit(s) out[#out + 1] = s end
  local function walk(v, indent)
    local kind = type(v)
    if v == null then emit("null")
    elseif kind == "string" then emit(quote(v))
    elseif kind == "number" then emit(string.format("%.14g", v))
    elseif kind == "boolean" then emit(tostring(v))
    elseif v.kind == "array" then
      if #v == 0 then return emit("[]") end
      local inner = indent .. "  "
      for i = 1, #v do
        emit(i == 1 and "[\n" or ",\n")
        emit(inner)
        walk(v[i], inner)
      end
      emit("\n" .. indent .. "]")
    else
      if #v.keys == 0 then return emit("{}") end
      local inner = indent .. "  "
      for i, key in ipairs(v.keys) do
        emit(i == 1 and "{\n" or ",\n")
        emit(inner)
        emit(quote(key) .. ": ")
        walk(v.fields[key], inner)
      end
      emit("\n" .. indent .. "}")
    end
  end
  walk(root, "")
  return table.concat(out)
end

local file = assert(io.open(arg[1] .. "/records.json", "rb"))
local text = file:read("*a")
file:close()

local printed = pretty(parse(text))
local again = pretty(parse(printed))
print(printed)
assert(printed == again, "the printed text reads back differently")

for _, bad in ipairs { "[1, 2", '{"a" 1}', '"open', "[tru]", "[1] 2", '["\\x"]' } do
  print(bad, select(2, pcall(parse, bad)))
end
