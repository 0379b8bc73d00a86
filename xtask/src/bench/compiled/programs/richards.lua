-- Richards: the core of an operating system. A scheduler runs six tasks by priority: an idle task, a worker, two handlers and
-- two devices, which send packets to each other. The numbers of packets queued and of tasks held are known.
-- Usage: richards.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 20

local IDLE, WORKER, HANDLER_A, HANDLER_B, DEVICE_A, DEVICE_B = 1, 2, 3, 4, 5, 6
local DEVICE, WORK = 1, 2
local SIZE, COUNT = 4, 10000

-- Packets, in linked queues.
local function packet(link, id, kind)
  return { link = link, id = id, kind = kind, datum = 0, data = { 0, 0, 0, 0 } }
end

local function append(queue, p)
  p.link = nil
  if not queue then return p end
  local last = queue
  while last.link do last = last.link end
  last.link = p
  return queue
end

-- Tasks. A task is held, suspended (waiting), or has a packet pending, in any mixture.
local Task = {}
Task.__index = Task

local Scheduler = {}
Scheduler.__index = Scheduler

function Task.new(scheduler, id, priority, queue, behaviour)
  local task = setmetatable({
    scheduler = scheduler, link = scheduler.list, id = id, priority = priority, queue = queue,
    pending = queue ~= nil, suspended = true, held = false, behaviour = behaviour,
  }, Task)
  scheduler.list = task
  scheduler.table[id] = task
  return task
end

function Task:blocked()
  return self.held or (self.suspended and not self.pending)
end

-- Another task sends a packet here: the one of higher priority runs next.
function Task:receive(sender, p)
  if not self.queue then
    self.queue = p
    self.pending = true
    if self.priority > sender.priority then return self end
  else
    self.queue = append(self.queue, p)
  end
  return sender
end

function Task:run()
  local p
  if self.suspended and self.pending then
    p = self.queue
    self.queue = p.link
    self.suspended = false
    self.pending = self.queue ~= nil
  end
  return self.behaviour:run(self.scheduler, p)
end

function Scheduler.new()
  return setmetatable({ queued = 0, held = 0, list = nil, table = {}, current = nil }, Scheduler)
end

function Scheduler:schedule()
  self.current = self.list
  while self.current do
    if self.current:blocked() then
      self.current = self.current.link
    else
      self.current = self.current:run()
    end
  end
end

function Scheduler:release(id)
  local task = self.table[id]
  task.held = false
  if task.priority > self.current.priority then return task end
  return self.current
end

function Scheduler:hold()
  self.held = self.held + 1
  self.current.held = true
  return self.current.link
end

function Scheduler:wait()
  self.current.suspended = true
  return self.current
end

function Scheduler:queue(p)
  local task = self.table[p.id]
  self.queued = self.queued + 1
  p.link = nil
  p.id = self.current.id
  return task:receive(self.current, p)
end

-- What the tasks do. The idle task releases one of the devices, as a shift register tells.
local Idle = {}
Idle.__index = Idle

function Idle:run(scheduler)
  self.count = self.count - 1
  if self.count == 0 then return scheduler:hold() end
  local low = self.seed % 2
  self.seed = (self.seed - low) / 2
  if low == 0 then return scheduler:release(DEVICE_A) end
  -- An exclusive or with 0xD008, whose bits are 15, 14, 12 and 3.
  local seed, mask, bit, mixed = self.seed, 0xD008, 1, 0
  for _ = 1, 16 do
    local s, m = seed % 2, mask % 2
    if s ~= m then mixed = mixed + bit end
    seed, mask, bit = (seed - s) / 2, (mask - m) / 2, bit * 2
  end
  self.seed = mixed
  return scheduler:release(DEVICE_B)
end

-- The worker fills packets with letters, for one handler and the other in turn.
local Worker = {}
Worker.__index = Worker

function Worker:run(scheduler, p)
  if not p then return scheduler:wait() end
  self.target = self.target == HANDLER_A and HANDLER_B or HANDLER_A
  p.id = self.target
  p.datum = 1
  local data = p.data
  for i = 1, SIZE do
    self.letter = self.letter % 26 + 1
    data[i] = self.letter
  end
  return scheduler:queue(p)
end

-- A handler hands the letters of work packets to its device, one device packet for each.
local Handler = {}
Handler.__index = Handler

function Handler:run(scheduler, p)
  if p then
    if p.kind == WORK then
      self.work = append(self.work, p)
    else
      self.device = append(self.device, p)
    end
  end
  local work = self.work
  if work then
    local datum = work.datum
    if datum > SIZE then
      self.work = work.link
      return scheduler:queue(work)
    end
    local device = self.device
    if device then
      self.device = device.link
      device.datum = work.data[datum]
      work.datum = datum + 1
      return scheduler:queue(device)
    end
  end
  return scheduler:wait()
end

-- A device holds itself for each packet, and sends it back when it is released.
local Device = {}
Device.__index = Device

function Device:run(scheduler, p)
  if not p then
    local waiting = self.waiting
    if not waiting then return scheduler:wait() end
    self.waiting = nil
    return scheduler:queue(waiting)
  end
  self.waiting = p
  return scheduler:hold()
end

local function round()
  local scheduler = Scheduler.new()
  local idle = Task.new(scheduler, IDLE, 0, nil, setmetatable({ seed = 1, count = COUNT }, Idle))
  idle.suspended = false
  local queue = packet(packet(nil, WORKER, WORK), WORKER, WORK)
  Task.new(scheduler, WORKER, 1000, queue, setmetatable({ target = HANDLER_A, letter = 0 }, Worker))
  for _, handler in ipairs({ { HANDLER_A, 2000, DEVICE_A }, { HANDLER_B, 3000, DEVICE_B } }) do
    local id, priority, device = handler[1], handler[2], handler[3]
    queue = packet(packet(packet(nil, device, DEVICE), device, DEVICE), device, DEVICE)
    Task.new(scheduler, id, priority, queue, setmetatable({}, Handler))
  end
  Task.new(scheduler, DEVICE_A, 4000, nil, setmetatable({}, Device))
  Task.new(scheduler, DEVICE_B, 5000, nil, setmetatable({}, Device))
  scheduler:schedule()
  return scheduler.queued, scheduler.held
end

for _ = 1, rounds do
  local queued, held = round()
  assert(queued == 23246 and held == 9297, queued .. " queued, " .. held .. " held")
end
print(rounds .. " rounds: 23246 packets queued, 9297 tasks held")
