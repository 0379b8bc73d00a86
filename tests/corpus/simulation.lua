-- A class-heavy simulation: a machine shop. Jobs pass through stations with
-- queues, machines break down and are mended, inspectors send jobs back.
-- Events wait in a heap; classes inherit by metatables; closures are the
-- actions.   Usage: simulation.lua [HOURS]
local hours = tonumber(arg[1]) or 4000

local function class(name, parent)
  local c = { class_name = name }
  c.__index = c
  c.__tostring = function(self) return self:describe() end
  c.new = function(...)
    local object = setmetatable({}, c)
    object:init(...)
    return object
  end
  return setmetatable(c, { __index = parent })
end

-- Random: the program's own generator, so that every run is the same.
local Random = class("Random")

function Random:init(seed) self.seed = seed end

function Random:next(n)
  self.seed = self.seed * 16807 % 2147483647
  return self.seed % n + 1
end

-- Calendar: events in order of time, then of their number.
local Calendar = class("Calendar")

function Calendar:init()
  self.now, self.serial, self.heap = 0, 0, {}
end

local Event = {}
Event.__index = Event
Event.__lt = function(a, b)
  if a.time ~= b.time then return a.time < b.time end
  return a.serial < b.serial
end

function Calendar:after(delay, action)
  self.serial = self.serial + 1
  local event = setmetatable({ time = self.now + delay, serial = self.serial, action = action }, Event)
  local heap = self.heap
  local i = #heap + 1
  heap[i] = event
  while i > 1 do
    local parent = math.floor(i / 2)
    if not (event < heap[parent]) then break end
    heap[i], heap[parent] = heap[parent], event
    i = parent
  end
end

function Calendar:take()
  local heap = self.heap
  local top, size = heap[1], #heap
  local last = heap[size]
  heap[size] = nil
  size = size - 1
  if size > 0 then
    local i = 1
    while true do
      local child = 2 * i
      if child > size then break end
      if child < size and heap[child + 1] < heap[child] then child = child + 1 end
      if not (heap[child] < last) then break end
      heap[i] = heap[child]
      i = child
    end
    heap[i] = last
  end
  return top
end

function Calendar:run(limit)
  while self.heap[1] and self.heap[1].time <= limit do
    local event = self:take()
    self.now = event.time
    event.action()
  end
end

-- Job and its kinds.
local Job = class("Job")
local serial = 0

function Job:init(born)
  serial = serial + 1
  self.number, self.born, self.step, self.repeats = serial, born, 1, 0
end

function Job:effort() return 20 end
function Job:next_station() return self.route[self.step] end
function Job:describe() return string.format("%s #%05d (step %d)", self.class_name, self.number, self.step) end

local Gear = class("Gear", Job)
Gear.route = { "lathe", "mill", "check" }
function Gear:effort() return 12 + self.number % 7 end

local Housing = class("Housing", Job)
Housing.route = { "mill", "drill", "paint", "check" }
function Housing:effort() return 18 + self.step end

local Special = class("Special", Housing)
Special.route = { "lathe", "mill", "drill", "mill", "paint", "check" }
function Special:effort() return Housing.effort(self) * 2 end

-- Station and its kinds.
local Station = class("Station")

function Station:init(shop, name, machines)
  self.shop, self.name, self.machines = shop, name, machines
  self.free, self.queue, self.head = machines, {}, 1
  self.served, self.busy, self.longest = 0, 0, 0
end

function Station:accept(job)
  self.queue[#self.queue + 1] = job
  self.longest = math.max(self.longest, #self.queue)
  self:start()
end

function Station:duration(job) return job:effort() + self.shop.random:next(9) end
function Station:finished(job)
  job.step = job.step + 1
  self.shop:forward(job)
end

function Station:start()
  if self.free == 0 or #self.queue == 0 then return end
  local job = table.remove(self.queue, 1)
  local time = self:duration(job)
  self.free = self.free - 1
  self.busy = self.busy + time
  self.shop.calendar:after(time, function()
    self.served = self.served + 1
    self.free = self.free + 1
    self:finished(job)
    self:start()
  end)
end

function Station:describe()
  local percent = 100 * self.busy / (self.machines * self.shop.calendar.now)
  return string.format("%-8s %-10s %d machines  served %6d  busy %5.1f %%  longest queue %4d",
    self.name, self.class_name, self.machines, self.served, percent, self.longest)
end

local Fragile = class("Fragile", Station)

function Fragile:init(...)
  Station.init(self, ...)
  self.failures = 0
end

function Fragile:duration(job)
  local time = Station.duration(self, job)
  if self.shop.random:next(50) == 1 then
    self.failures = self.failures + 1
    self.shop:note("%s broke down with %s", self.name, job)
    time = time + 90
  end
  return time
end

function Fragile:describe()
  return Station.describe(self) .. string.format("  %d failures", self.failures)
end

local Inspection = class("Inspection", Station)

function Inspection:duration() return 5 end

function Inspection:finished(job)
  if job.repeats < 2 and self.shop.random:next(20) == 1 then
    job.repeats = job.repeats + 1
    job.step = 1
    self.shop:note("%s goes back", job)
    return self.shop:forward(job)
  end
  Station.finished(self, job)
end

-- Shop: ties everything together.
local Shop = class("Shop")

function Shop:init(seed)
  self.random, self.calendar = Random.new(seed), Calendar.new()
  self.notes, self.done, self.order = {}, {}, {}
  self.stations = {}
  self:add(Fragile.new(self, "lathe", 2))
  self:add(Fragile.new(self, "mill", 3))
  self:add(Station.new(self, "drill", 2))
  self:add(Station.new(self, "paint", 2))
  self:add(Inspection.new(self, "check", 1))
  self:source(Gear, 30)
  self:source(Housing, 45)
  self:source(Special, 130)
end

function Shop:add(station)
  self.stations[station.name] = station
  self.order[#self.order + 1] = station
end

function Shop:source(kind, mean)
  self.done[kind] = { jobs = 0, time = 0, worst = 0 }
  local function arrive()
    self:forward(kind.new(self.calendar.now))
    self.calendar:after(mean - 10 + self.random:next(19), arrive)
  end
  self.calendar:after(mean, arrive)
end

function Shop:note(text, ...)
  local parts = { ... }
  for i = 1, #parts do parts[i] = tostring(parts[i]) end
  self.notes[#self.notes + 1] = string.format("%8d  " .. text, self.calendar.now, (unpack or table.unpack)(parts))
end

function Shop:forward(job)
  local name = job:next_station()
  if name then return self.stations[name]:accept(job) end
  local entry = self.done[getmetatable(job)]
  local time = self.calendar.now - job.born
  entry.jobs = entry.jobs + 1
  entry.time = entry.time + time
  entry.worst = math.max(entry.worst, time)
end

for seed = 1, 3 do
  serial = 0
  local shop = Shop.new(seed * 1000)
  shop.calendar:run(hours * 60)
  print(string.format("shop %d after %d hours", seed, hours))
  for _, station in ipairs(shop.order) do print(tostring(station)) end
  for _, kind in ipairs { Gear, Housing, Special } do
    local entry = shop.done[kind]
    print(string.format("%-8s %6d jobs  mean time %7.2f  worst %5d", kind.class_name, entry.jobs,
      entry.time / entry.jobs, entry.worst))
  end
  print(#shop.notes .. " notes; the last")
  for i = #shop.notes - 4, #shop.notes do print(shop.notes[i]) end
end
