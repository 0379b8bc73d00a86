-- Reads DATA/access.log twice, with io.lines and with file:read, and DATA/
-- numbers.txt with the number format; reports and compares the ways.
local path = arg[1] .. "/access.log"

local function new_stats()
  return { lines = 0, bytes = 0, status = {}, hosts = {}, hours = {}, slow = {} }
end

local function count(t, key, n) t[key] = (t[key] or 0) + (n or 1) end

local function account(stats, line)
  local host, hour, method, url, status, size =
    line:match('^(%S+) %[(%d+):%d+:%d+%] "(%u+) (%S+)" (%d+) (%d+)$')
  assert(host, line)
  stats.lines = stats.lines + 1
  stats.bytes = stats.bytes + tonumber(size)
  count(stats.status, status)
  count(stats.hosts, host, tonumber(size))
  count(stats.hours, hour .. " " .. method)
  if status == "500" then count(stats.slow, url) end
end

local function sorted(t, by_value)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if by_value and t[a] ~= t[b] then return t[a] > t[b] end
    return a < b
  end)
  return keys
end

local function report(stats)
  local out = {}
  local function line(...) out[#out + 1] = string.format(...) end
  line("%d requests, %d bytes", stats.lines, stats.bytes)
  for _, status in ipairs(sorted(stats.status)) do line("status %s: %6d", status, stats.status[status]) end
  for i, host in ipairs(sorted(stats.hosts, true)) do
    if i > 10 then break end
    line("%2d. %-12s %9d bytes", i, host, stats.hosts[host])
  end
  for _, key in ipairs(sorted(stats.hours)) do line("hour %s: %d", key, stats.hours[key]) end
  for i, url in ipairs(sorted(stats.slow, true)) do
    if i > 5 then break end
    line("500 at %-30s %d times", url, stats.slow[url])
  end
  return table.concat(out, "\n")
end

local by_lines = new_stats()
for line in io.lines(path) do account(by_lines, line) end

local by_read = new_stats()
local file = assert(io.open(path))
while true do
  local line = file:read("*l")
  if not line then break end
  account(by_read, line)
end
print("size by seek", file:seek("end"))
file:close()

local by_blocks = new_stats()
file = assert(io.open(path, "rb"))
local rest = ""
while true do
  local block = file:read(4096)
  if not block then break end
  block = rest .. block
  local from = 1
  for line, after in block:gmatch("([^\n]*)\n()") do
    account(by_blocks, line)
    from = after
  end
  rest = block:sub(from)
end
file:close()

local text = report(by_lines)
print(text)
print("same by read", text == report(by_read))
print("same by blocks", text == report(by_blocks))

local numbers, sum, low, high = 0, 0, math.huge, -math.huge
file = assert(io.open(arg[1] .. "/numbers.txt"))
while true do
  local n = file:read("*n")
  if not n then break end
  numbers = numbers + 1
  sum = sum + n
  low, high = math.min(low, n), math.max(high, n)
end
file:close()
print(string.format("%d numbers, sum %.0f, from %d to %d", numbers, sum, low, high))
print("no such file", io.open(arg[1] .. "/no/such/file") == nil)
