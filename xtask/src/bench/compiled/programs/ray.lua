-- A ray tracer: spheres over a chequered plane, shadows and reflections, vectors as small tables. The sum over the picture is
-- known for some sizes; it is printed.
-- Usage: ray.lua [SIZE]
local size = tonumber(arg[1]) or 160
local sqrt, floor, huge = math.sqrt, math.floor, math.huge

local Vector = {}
Vector.__index = Vector

local function vector(x, y, z)
  return setmetatable({ x = x, y = y, z = z }, Vector)
end

Vector.__add = function(a, b) return vector(a.x + b.x, a.y + b.y, a.z + b.z) end
Vector.__sub = function(a, b) return vector(a.x - b.x, a.y - b.y, a.z - b.z) end
Vector.__mul = function(a, s) return vector(a.x * s, a.y * s, a.z * s) end
Vector.__unm = function(a) return vector(-a.x, -a.y, -a.z) end

function Vector:dot(b) return self.x * b.x + self.y * b.y + self.z * b.z end
function Vector:unit() return self * (1 / sqrt(self:dot(self))) end
function Vector:mirrored(normal) return self - normal * (2 * self:dot(normal)) end

-- Things that rays hit: `hit` returns the distance, `normal` the direction away from the surface there.
local Sphere = {}
Sphere.__index = Sphere

local function sphere(centre, radius, colour, mirror)
  local colours = function() return colour end
  return setmetatable({ centre = centre, square = radius * radius, colour = colours, mirror = mirror }, Sphere)
end

function Sphere:hit(from, direction)
  local to = self.centre - from
  local along = to:dot(direction)
  local under = self.square - to:dot(to) + along * along
  if under < 0 then return nil end
  local half = sqrt(under)
  local near = along - half
  if near > 1e-6 then return near end
  local far = along + half
  if far > 1e-6 then return far end
  return nil
end

function Sphere:normal(at) return (at - self.centre):unit() end

local Floor = {}
Floor.__index = Floor

function Floor:hit(from, direction)
  if direction.y >= -1e-9 then return nil end
  local distance = (self.y - from.y) / direction.y
  if distance > 1e-6 then return distance end
  return nil
end

local up = vector(0, 1, 0)
function Floor:normal() return up end

local dark, bright = vector(0.2, 0.2, 0.25), vector(0.9, 0.9, 0.8)
local floor_plane = setmetatable({
  y = -1, mirror = 0.2,
  colour = function(at) return (floor(at.x) + floor(at.z)) % 2 == 0 and dark or bright end,
}, Floor)

local scene = {
  sphere(vector(-1.2, 0, 4), 1, vector(0.9, 0.2, 0.2), 0.3),
  sphere(vector(1.1, -0.2, 3.5), 0.8, vector(0.2, 0.9, 0.3), 0.3),
  sphere(vector(0.1, 0.9, 5), 0.9, vector(0.3, 0.4, 0.9), 0.5),
  sphere(vector(0.2, -0.7, 2.6), 0.3, vector(0.9, 0.8, 0.2), 0.1),
  floor_plane,
}
local light = vector(-0.5, 0.8, -0.4):unit()
local background = vector(0.4, 0.6, 0.9)

local function nearest(from, direction)
  local best, thing = huge, nil
  for i = 1, #scene do
    local candidate = scene[i]
    local distance = candidate:hit(from, direction)
    if distance and distance < best then best, thing = distance, candidate end
  end
  return thing, best
end

local function trace(from, direction, depth)
  local thing, distance = nearest(from, direction)
  if not thing then return background end
  local at = from + direction * distance
  local normal = thing:normal(at)
  local start = at + normal * 1e-5
  local shade = 0.15
  local facing = normal:dot(light)
  if facing > 0 and not nearest(start, light) then shade = shade + 0.85 * facing end
  local colour = thing.colour(at) * shade
  if depth > 0 and thing.mirror > 0 then
    local seen = trace(start, direction:mirrored(normal):unit(), depth - 1)
    colour = colour * (1 - thing.mirror) + seen * thing.mirror
  end
  return colour
end

local function byte(part)
  return floor((part > 1 and 1 or part) * 255 + 0.5)
end

local eye = vector(0, 0.3, -1)
local red, green, blue = 0, 0, 0
for row = 0, size - 1 do
  for column = 0, size - 1 do
    local direction = vector((column + 0.5) / size * 2 - 1, 1 - (row + 0.5) / size * 2, 1.8):unit()
    local colour = trace(eye, direction, 4)
    red, green, blue = red + byte(colour.x), green + byte(colour.y), blue + byte(colour.z)
  end
end
print(string.format("%d x %d: %d %d %d", size, size, red, green, blue))
