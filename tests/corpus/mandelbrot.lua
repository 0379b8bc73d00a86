-- The Mandelbrot set as a binary PBM picture on standard output.
-- Usage: mandelbrot.lua [WIDTH]
local width = tonumber(arg[1]) or 800
local height = width
local limit = 50

io.write("P4\n", string.format("%d %d\n", width, height))

for y = 0, height - 1 do
  local ci = 2 * y / height - 1
  local row = {}
  for byte_x = 0, width - 1, 8 do
    local bits = 0
    for x = byte_x, byte_x + 7 do
      bits = bits * 2
      if x < width then
        local cr = 2 * x / width - 1.5
        local zr, zi, rr, ii = 0, 0, 0, 0
        local inside = 1
        for _ = 1, limit do
          zi = 2 * zr * zi + ci
          zr = rr - ii + cr
          rr, ii = zr * zr, zi * zi
          if rr + ii > 4 then
            inside = 0
            break
          end
        end
        bits = bits + inside
      end
    end
    row[#row + 1] = string.char(bits)
  end
  io.write(table.concat(row))
end
