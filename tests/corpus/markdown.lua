-- Markdown to HTML: headings, paragraphs, nested lists, quotes, fenced code,
-- rules, emphasis, code spans and links.   Usage: markdown.lua DATA [ROUNDS]
-- Converts DATA/document.md ROUNDS times and prints the HTML once.
local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(s)
  return (s:gsub('[&<>"]', entities))
end

-- Code spans are put aside behind a mark, so that nothing inside them changes.
local function inline(s)
  local kept = {}
  s = s:gsub("`([^`]+)`", function(code)
    kept[#kept + 1] = "<code>" .. escape(code) .. "</code>"
    return "\1" .. #kept .. "\2"
  end)
  s = escape(s)
  s = s:gsub("%[([^%]]+)%]%(([^%)]+)%)", '<a href="%2">%1</a>')
  s = s:gsub("%*%*([^*]+)%*%*", "<strong>%1</strong>")
  s = s:gsub("%*([^*]+)%*", "<em>%1</em>")
  return (s:gsub("\1(%d+)\2", function(n) return kept[tonumber(n)] end))
end

local function item_of(line)
  local indent, text = line:match("^(%s*)[-+] (.*)$")
  if text then return #indent, "ul", text end
  indent, text = line:match("^(%s*)%d+%. (.*)$")
  if text then return #indent, "ol", text end
end

local function convert(lines)
  local out, headings = {}, {}
  local used = {}
  local function emit(...) out[#out + 1] = table.concat({ ... }) end
  local pos = 1

  local function heading(level, text)
    local html = inline(text)
    local id = html:gsub("<[^>]+>", ""):gsub("&%a+;", ""):lower():gsub("[^%w]+", "-"):gsub("^-", ""):gsub("-$", "")
    used[id] = (used[id] or 0) + 1
    if used[id] > 1 then id = id .. "-" .. used[id] end
    headings[#headings + 1] = { level = level, html = html, id = id }
    emit("<h", level, ' id="', id, '">', html, "</h", level, ">")
  end

  local function list(base, kind)
    emit((" "):rep(base), "<", kind, ">")
    while lines[pos] do
      local indent, k, text = item_of(lines[pos])
      if not indent or indent < base then break end
      if indent > base then
        list(indent, k)
      else
        if k ~= kind then break end
        emit((" "):rep(base), "<li>", inline(text), "</li>")
        pos = pos + 1
      end
    end
    emit((" "):rep(base), "</", kind, ">")
  end

  local function gather(pattern)
    local parts = {}
    while lines[pos] do
      local text = lines[pos]:match(pattern)
      if not text then break end
      parts[#parts + 1] = text
      pos = pos + 1
    end
    return inline(table.concat(parts, "\n"))
  end

  while lines[pos] do
    local line = lines[pos]
    local marks, title = line:match("^(#+) (.*)$")
    local indent, kind = item_of(line)
    if line:find("^%s*$") then
      pos = pos + 1
    elseif marks then
      heading(#marks, title)
      pos = pos + 1
    elseif line:find("^%-%-%-+$") then
      emit("<hr>")
      pos = pos + 1
    elseif line:find("^```") then
      emit('<pre><code class="', escape(line:sub(4)), '">')
      pos = pos + 1
      while lines[pos] and not lines[pos]:find("^```") do
        emit(escape(lines[pos]))
        pos = pos + 1
      end
      emit("</code></pre>")
      pos = pos + 1
    elseif indent then
      list(indent, kind)
    elseif line:find("^> ") then
      emit("<blockquote>\n", gather("^> (.*)$"), "\n</blockquote>")
    else
      emit("<p>", gather("^[^#>%s].*$"), "</p>")
    end
  end
  return table.concat(out, "\n"), headings
end

local function contents(headings)
  local out = {}
  for i, h in ipairs(headings) do
    out[i] = string.format('%s<a href="#%s">%s</a><br>', ("&nbsp;"):rep(2 * (h.level - 1)), h.id, h.html)
  end
  return table.concat(out, "\n")
end

local lines = {}
for line in io.lines(arg[1] .. "/document.md") do lines[#lines + 1] = line end

local html, headings
for round = 1, tonumber(arg[2]) or 14 do
  local again
  again, headings = convert(lines)
  assert(round == 1 or again == html)
  html = again
end
print("<!DOCTYPE html>\n<title>document</title>")
print(contents(headings))
print(html)
