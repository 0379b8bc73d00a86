-- Runaway: a binary search with an off-by-one, the usual way to hang a program.
-- `lo = mid` ought to be `lo = mid + 1`: once lo and hi are neighbours, mid is
-- lo again and the search stands still. The first parcel is priced; the second hangs.

local bands = {
  { upto = 1, price = 4.50 },  { upto = 5, price = 7.90 },
  { upto = 10, price = 11.20 }, { upto = 30, price = 19.00 },
}

local function find_band(weight)
  local lo, hi = 1, #bands
  while lo < hi do
    local mid = math.floor((lo + hi) / 2)
    if weight > bands[mid].upto then lo = mid else hi = mid end
  end
  return bands[lo]
end

local function postage(parcel)
  local band = find_band(parcel.weight)
  return band.price
end

local function print_invoice(parcels)
  for _, parcel in ipairs(parcels) do
    print(string.format("%-8s %5.1f kg  %6.2f", parcel.name, parcel.weight, postage(parcel)))
  end
end

print("Invoice")
print_invoice { { name = "letter", weight = 0.4 }, { name = "books", weight = 7 } }
