-- Reads DATA/sales.csv and reports sales by region, by product and by month,
-- and a cross table of region and quarter. Money is counted in cents.
local function fields(line)
  local list, n, pos = {}, 0, 1
  while true do
    n = n + 1
    if line:byte(pos) == 34 then
      local parts = {}
      while true do
        local stop = assert(line:find('"', pos + 1, true), "unclosed quote")
        parts[#parts + 1] = line:sub(pos + 1, stop - 1)
        pos = stop + 1
        if line:byte(pos) ~= 34 then break end
      end
      list[n] = table.concat(parts, '"')
    else
      local stop = line:find(",", pos, true) or #line + 1
      list[n] = line:sub(pos, stop - 1)
      pos = stop
    end
    if pos > #line then return list end
    pos = pos + 1
  end
end

local function read_rows(path)
  local rows, header = {}, nil
  for line in io.lines(path) do
    local list = fields(line)
    if not header then
      header = list
    else
      local row = {}
      for i, name in ipairs(header) do row[name] = list[i] end
      row.quantity = tonumber(row.quantity)
      local whole, cents = row.unit_price:match("^(%d+)%.(%d%d)$")
      row.cents = row.quantity * (tonumber(whole) * 100 + tonumber(cents))
      row.month = row.date:sub(1, 7)
      row.quarter = "Q" .. math.floor((tonumber(row.date:sub(6, 7)) + 2) / 3)
      rows[#rows + 1] = row
    end
  end
  return rows
end

local function money(cents)
  local whole = string.format("%d", math.floor(cents / 100))
  whole = whole:reverse():gsub("(%d%d%d)", "%1 "):reverse():gsub("^ ", "")
  return string.format("%s.%02d", whole, cents % 100)
end

local function group_by(rows, key)
  local groups, list = {}, {}
  for _, row in ipairs(rows) do
    local g = groups[row[key]]
    if not g then
      g = { key = row[key], orders = 0, quantity = 0, cents = 0, best = 0 }
      groups[row[key]] = g
      list[#list + 1] = g
    end
    g.orders = g.orders + 1
    g.quantity = g.quantity + row.quantity
    g.cents = g.cents + row.cents
    g.best = math.max(g.best, row.cents)
  end
  return list
end

local function report(rows, key, order)
  local list = group_by(rows, key)
  table.sort(list, order)
  print(string.format("\n%-18s %7s %9s %16s %12s", key, "orders", "quantity", "sales", "best"))
  for _, g in ipairs(list) do
    print(string.format("%-18s %7d %9d %16s %12s", g.key, g.orders, g.quantity, money(g.cents), money(g.best)))
  end
end

local function by_sales(a, b)
  if a.cents ~= b.cents then return a.cents > b.cents end
  return a.key < b.key
end

local function by_key(a, b) return a.key < b.key end

local rows = read_rows(arg[1] .. "/sales.csv")
print(string.format("%d orders", #rows))
report(rows, "region", by_sales)
report(rows, "product", by_sales)
report(rows, "month", by_key)

local cross, regions, quarters = {}, {}, { "Q1", "Q2", "Q3", "Q4" }
for _, row in ipairs(rows) do
  local line = cross[row.region]
  if not line then
    line = { Q1 = 0, Q2 = 0, Q3 = 0, Q4 = 0 }
    cross[row.region] = line
    regions[#regions + 1] = row.region
  end
  line[row.quarter] = line[row.quarter] + row.cents
end
table.sort(regions)
print(string.format("\n%-18s %14s %14s %14s %14s", "region", "Q1", "Q2", "Q3", "Q4"))
for _, region in ipairs(regions) do
  local cells = {}
  for i, q in ipairs(quarters) do cells[i] = string.format("%14s", money(cross[region][q])) end
  print(string.format("%-18s %s", region, table.concat(cells, " ")))
end

table.sort(rows, function(a, b)
  if a.cents ~= b.cents then return a.cents > b.cents end
  if a.date ~= b.date then return a.date < b.date end
  if a.product ~= b.product then return a.product < b.product end
  return a.region < b.region
end)
print("\nthe ten largest orders")
for i = 1, 10 do
  local row = rows[i]
  print(string.format("%s  %-18s %-18s %3d x %6s = %12s", row.date, row.region, row.product, row.quantity,
    row.unit_price, money(row.cents)))
end
