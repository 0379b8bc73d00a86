-- LuaJIT's own memory: particles in an array of structs, a heat equation on arrays of doubles, and a histogram of bytes.
-- Usage: ffi_arrays.lua [STEPS]
local ffi = require "ffi"
local steps = tonumber(arg[1]) or 1000

ffi.cdef [[
typedef struct { double x, y, vx, vy; uint32_t bounces; } particle_t;
]]

-- Particles in a box.
local N = 1000
local particles = ffi.new("particle_t[?]", N)
local seed = 99
local function random()
  seed = (seed * 16807) % 2147483647
  return seed / 2147483647
end
for i = 0, N - 1 do
  local p = particles[i]
  p.x, p.y, p.vx, p.vy = random(), random(), random() - 0.5, random() - 0.5
end
local function move(dt)
  for i = 0, N - 1 do
    local p = particles[i]
    p.x = p.x + p.vx * dt
    p.y = p.y + p.vy * dt
    if p.x < 0 or p.x > 1 then
      p.vx = -p.vx
      p.bounces = p.bounces + 1
    end
    if p.y < 0 or p.y > 1 then
      p.vy = -p.vy
      p.bounces = p.bounces + 1
    end
  end
end

-- Heat in a rod whose ends are kept at 0 and 1: in the end it is a straight line.
local M = 2000
local rod, other = ffi.new("double[?]", M), ffi.new("double[?]", M)
rod[M - 1], other[M - 1] = 1, 1
local function heat()
  for i = 1, M - 2 do
    other[i] = rod[i] + 0.25 * (rod[i - 1] - 2 * rod[i] + rod[i + 1])
  end
  rod, other = other, rod
end

-- A histogram of bytes.
local bytes, histogram = ffi.new("uint8_t[?]", 4096), ffi.new("int32_t[256]")
local function count(round)
  for i = 0, 4095 do bytes[i] = i * round + i end
  for i = 0, 4095 do
    local b = bytes[i]
    histogram[b] = histogram[b] + 1
  end
end

for step = 1, steps do
  move(0.01)
  heat()
  count(step)
end

local bounces, sum, total = 0, 0, 0
for i = 0, N - 1 do bounces = bounces + particles[i].bounces end
for i = 0, M - 1 do sum = sum + rod[i] end
for i = 0, 255 do total = total + histogram[i] end
assert(total == 4096 * steps)
assert(rod[0] == 0 and rod[M - 1] == 1)
print(string.format("%d steps: %d bounces, %.9f of heat, %d bytes of value 7", steps, bounces, sum, histogram[7]))
