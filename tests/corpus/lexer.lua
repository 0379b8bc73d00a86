-- A tokenizer for Lua, run over the corpus's own programs: the files named in
-- lua_sources.txt, next to this script.   Usage: lexer.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 30
local here = arg[0]:match("^(.*[/\\])") or "./"

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in
  local nil not or repeat return then true until while]]):gmatch("%a+") do
  keywords[word] = true
end

local operators = {}
for op in ("... .. == ~= <= >= << >> // :: + - * / % ^ # & ~ | < > = ( ) { } [ ] ; : , ."):gmatch("%S+") do
  operators[op] = true
end

-- Calls visit(kind, text, line) for each token; comments count as tokens too.
local function tokenize(source, name, visit)
  local pos, line = 1, 1
  local length = #source

  local function fail(what)
    error(string.format("%s:%d: %s", name, line, what), 0)
  end

  local function long_bracket(from)
    local level = source:match("^%[(=*)%[", from)
    if not level then return nil end
    local _, last = source:find("]" .. level .. "]", from + #level + 2, true)
    return last or fail("unfinished long bracket")
  end

  while true do
    local first, last = source:find("^[ \t\r]+", pos)
    if first then pos = last + 1 end
    if pos > length then return line end
    local c = source:sub(pos, pos)
    local kind
    if c == "\n" then
      line = line + 1
      pos = pos + 1
    else
      if c:find("[%a_]") then
        last = select(2, source:find("^[%w_]+", pos))
        kind = keywords[source:sub(pos, last)] and "keyword" or "name"
      elseif source:find("^%.?%d", pos) then
        last = select(2, source:find("^0[xX][%x%.]+", pos))
          or select(2, source:find("^[%d%.]+[eE][+-]?%d+", pos))
          or select(2, source:find("^[%d%.]+", pos))
        kind = "number"
      elseif c == '"' or c == "'" then
        last = pos
        repeat
          last = source:find("[\\\n" .. c .. "]", last + 1) or fail("unfinished string")
          local stop = source:sub(last, last)
          if stop == "\n" then fail("unfinished string") end
          if stop == "\\" then last = last + 1 end
        until stop == c
        kind = "string"
      elseif source:find("^%-%-", pos) then
        last = long_bracket(pos + 2) or (source:find("\n", pos, true) or length + 1) - 1
        kind = "comment"
      else
        last = c == "[" and long_bracket(pos)
        kind = "string"
        if not last then
          kind = "operator"
          for size = 3, 1, -1 do
            if operators[source:sub(pos, pos + size - 1)] then
              last = pos + size - 1
              break
            end
          end
          if not last then fail("unexpected '" .. c .. "'") end
        end
      end
      local token = source:sub(pos, last)
      visit(kind, token, line)
      local _, newlines = token:gsub("\n", "")
      line = line + newlines
      pos = last + 1
    end
  end
end

local kinds = { "keyword", "name", "number", "string", "operator", "comment" }
local totals, names, name_list = {}, {}, {}
for _, kind in ipairs(kinds) do totals[kind] = 0 end

print(string.format("%-20s %6s %8s %6s %7s %7s %9s %8s", "file", "lines", (unpack or table.unpack)(kinds)))
for file_name in io.lines(here .. "lua_sources.txt") do
  local file = assert(io.open(here .. file_name, "rb"))
  local source = file:read("*a")
  file:close()
  local counts, lines
  for round = 1, rounds do
    counts = {}
    for _, kind in ipairs(kinds) do counts[kind] = 0 end
    lines = tokenize(source, file_name, function(kind, token)
      counts[kind] = counts[kind] + 1
      if kind == "name" and round == 1 then
        if not names[token] then
          names[token] = 0
          name_list[#name_list + 1] = token
        end
        names[token] = names[token] + 1
      end
    end)
  end
  for _, kind in ipairs(kinds) do totals[kind] = totals[kind] + counts[kind] end
  print(string.format("%-20s %6d %8d %6d %7d %7d %9d %8d", file_name, lines, counts.keyword, counts.name,
    counts.number, counts.string, counts.operator, counts.comment))
end

for _, kind in ipairs(kinds) do print(kind, totals[kind]) end
table.sort(name_list, function(a, b)
  if names[a] ~= names[b] then return names[a] > names[b] end
  return a < b
end)
for i = 1, 20 do print(names[name_list[i]], name_list[i]) end

for _, bad in ipairs { "x = 'abc\n", "x = [[abc", "a\nb @ c" } do
  print(select(2, pcall(tokenize, bad, "bad", function() end)))
end
