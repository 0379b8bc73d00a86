-- A template engine made of gsub and load: a template becomes Lua source, the
-- source a function, and the function a page. `{{ x }}` inserts escaped text,
-- `{! x !}` raw text, `{% code %}` is Lua.   Usage: template.lua [PAGES]
local pages = tonumber(arg[1]) or 4000

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(value)
  return (tostring(value):gsub('[&<>"]', entities))
end

local function compile(name, text)
  local code = { "local _out, _escape, self = ...\n" }
  local function literal(s)
    if s ~= "" then code[#code + 1] = string.format("_out[#_out + 1] = %q\n", s) end
  end
  local pos = 1
  for before, mark, body, after in text:gmatch("()({[{%%!])(.-)[}%%!]}()") do
    literal(text:sub(pos, before - 1))
    if mark == "{{" then code[#code + 1] = "_out[#_out + 1] = _escape(" .. body .. ")\n"
    elseif mark == "{!" then code[#code + 1] = "_out[#_out + 1] = tostring(" .. body .. ")\n"
    else code[#code + 1] = body .. "\n" end
    pos = after
  end
  literal(text:sub(pos))
  local chunk = assert((loadstring or load)(table.concat(code), "=" .. name))
  return function(data)
    local out = {}
    chunk(out, escape, data)
    return table.concat(out)
  end
end

local page = compile("page", [[
<html><head><title>{{ self.title }}</title></head>
<body class="{{ self.theme or "plain" }}">
{% for i, item in ipairs(self.items) do %}  <li class="{{ i % 2 == 0 and "even" or "odd" }}">
    {{ i }}. {{ item.name }}: {! item:price() !}{% if item.note then %} <i>{{ item.note }}</i>{% end %}
  </li>
{% end %}<p>{! self.body !}</p>
</body></html>
]])

-- Filters in the manner of shell variables: ${name|filter|filter}.
local filters = {
  upper = string.upper,
  title = function(s) return (s:gsub("(%a)(%w*)", function(a, b) return a:upper() .. b:lower() end)) end,
  snake = function(s) return (s:gsub("(%l)(%u)", "%1_%2"):lower()) end,
  quote = function(s) return '"' .. s:gsub('"', '\\"') .. '"' end,
  trim = function(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end,
}

local function expand(text, variables)
  return (text:gsub("%${([%w_]+)([^}]*)}", function(name, chain)
    local value = variables[name]
    if value == nil then return nil end
    for filter in chain:gmatch("|(%a+)") do value = filters[filter](value) end
    return value
  end))
end

local Item = {}
Item.__index = Item
function Item:price() return string.format("%d.%02d", math.floor(self.cents / 100), self.cents % 100) end

local function wrap(text, width)
  local line, lines = "", {}
  for word in text:gmatch("%S+") do
    if #line + #word + 1 > width then
      lines[#lines + 1] = line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function checksum(s)
  local a, b = 1, 0
  for i = 1, #s do
    a = (a + s:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local names = { "lamp & shade", "chair", "<table>", "book \"Lua\"", "mirror", "clock" }
local total, bytes, last = 0, 0, nil
for number = 1, pages do
  local items = {}
  for i = 1, 12 do
    items[i] = setmetatable({
      name = names[(number + i * i) % #names + 1],
      cents = (number * 7919 + i * 104729) % 100000,
      note = (number + i) % 4 == 0 and "new < " .. i or nil,
    }, Item)
  end
  local body = expand("  ${who|title} wrote ${topic|snake|upper} to ${whom|trim|quote}; ${nobody} knows why.  ", {
    who = "someone from page " .. number,
    topic = "theLongLetter" .. string.char(65 + number % 26) .. "bout",
    whom = "  the \"editor\"  ",
  })
  local html = page { title = "Page " .. number .. " & more", items = items, body = wrap(body:rep(4), 40),
    theme = number % 3 == 0 and "dark" or nil }
  html = html:gsub("%s+\n", "\n"):gsub("\n%s+", "\n")
  bytes = bytes + #html
  total = (total + checksum(html)) % 4294967296
  last = html
end

io.write(last)
print(string.format("%d pages, %d bytes, checksum %.0f", pages, bytes, total))
