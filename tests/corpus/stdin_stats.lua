-- Reads all of standard input, numbers separated by white space, and prints
-- count, sum, mean, median, extremes, a histogram and a checksum.
local text = io.read("*a")
print("bytes", #text)
print("at the end", io.read("*a") == "", io.read("*l") == nil)

local values = {}
for number in text:gmatch("%-?%d+") do values[#values + 1] = tonumber(number) end

local sum, checksum = 0, 0
for i, v in ipairs(values) do
  sum = sum + v
  checksum = (checksum * 131 + v) % 4294967291
end
table.sort(values)

local n = #values
print(string.format("count    %d", n))
print(string.format("sum      %.0f", sum))
print(string.format("checksum %.0f", checksum))
if n > 0 then
  local mean = sum / n
  local squares, distinct = 0, 0
  for i, v in ipairs(values) do
    squares = squares + (v - mean) ^ 2
    if v ~= values[i - 1] then distinct = distinct + 1 end
  end
  print(string.format("mean     %.3f", mean))
  print(string.format("spread   %.3f", math.sqrt(squares / n)))
  print(string.format("median   %.1f", (values[math.floor((n + 1) / 2)] + values[math.floor(n / 2) + 1]) / 2))
  print(string.format("from     %d to %d, %d different", values[1], values[n], distinct))

  local low, high, bins = values[1], values[n], {}
  for i = 1, 10 do bins[i] = 0 end
  for _, v in ipairs(values) do
    local bin = math.min(10, 1 + math.floor(10 * (v - low) / math.max(1, high - low)))
    bins[bin] = bins[bin] + 1
  end
  for i = 1, 10 do
    print(string.format("%2d %6d %s", i, bins[i], ("#"):rep(math.floor(200 * bins[i] / n))))
  end
end
