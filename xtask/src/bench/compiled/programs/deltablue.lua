-- DeltaBlue: an incremental solver of one-way constraints. Constraints between variables have strengths; the solver finds a
-- plan that satisfies the strongest, and changes it as constraints come and go. Two tests: a long chain of equalities, and many
-- pairs that are scaled. Each checks the values that the plan gives.
-- Usage: deltablue.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 20

-- Strengths, from the strongest: a smaller number is stronger.
local REQUIRED, STRONG_PREFERRED, PREFERRED, STRONG_DEFAULT, NORMAL, WEAK_DEFAULT, WEAKEST = 0, 1, 2, 3, 4, 5, 6

local function weakest_of(a, b)
  return a > b and a or b
end

local planner

-- Variables.
local function variable(name, value)
  return { name = name, value = value or 0, constraints = {}, determined_by = nil, mark = 0, walk = WEAKEST, stay = true }
end

local function remove(list, item)
  for i = #list, 1, -1 do
    if list[i] == item then table.remove(list, i) end
  end
end

-- What all constraints have in common. Each kind says how a method is chosen, and what its input and output are.
local Constraint = {}
Constraint.__index = Constraint

local function class(parent)
  local c = setmetatable({}, parent)
  c.__index = c
  return c
end

function Constraint:add()
  self:add_to_graph()
  planner:incremental_add(self)
end

function Constraint:destroy()
  if self:is_satisfied() then
    planner:incremental_remove(self)
  else
    self:remove_from_graph()
  end
end

function Constraint:is_input() return false end

-- Tries to satisfy it. Returns a weaker constraint that had to give way.
function Constraint:satisfy(mark)
  self:choose_method(mark)
  if not self:is_satisfied() then
    assert(self.strength ~= REQUIRED, "a required constraint cannot be satisfied")
    return nil
  end
  self:mark_inputs(mark)
  local out = self:output()
  local overridden = out.determined_by
  if overridden then overridden:mark_unsatisfied() end
  out.determined_by = self
  assert(planner:add_propagate(self, mark), "there is a cycle")
  out.mark = mark
  return overridden
end

-- Constraints on one variable.
local Unary = class(Constraint)

function Unary:init(v, strength)
  self.strength, self.out, self.satisfied = strength, v, false
  self:add()
  return self
end

function Unary:add_to_graph()
  local list = self.out.constraints
  list[#list + 1] = self
  self.satisfied = false
end

function Unary:remove_from_graph()
  remove(self.out.constraints, self)
  self.satisfied = false
end

function Unary:choose_method(mark)
  self.satisfied = self.out.mark ~= mark and self.strength < self.out.walk
end

function Unary:is_satisfied() return self.satisfied end
function Unary:mark_inputs() end
function Unary:output() return self.out end
function Unary:mark_unsatisfied() self.satisfied = false end
function Unary:inputs_known() return true end

function Unary:recalculate()
  local out = self.out
  out.walk = self.strength
  out.stay = not self:is_input()
  if out.stay then self:execute() end
end

-- A variable that is to stay as it is.
local Stay = class(Unary)
function Stay:execute() end

-- A variable that is changed from outside.
local Edit = class(Unary)
function Edit:is_input() return true end
function Edit:execute() end

-- Constraints between two variables, in one direction or the other.
local FORWARD, BACKWARD = 1, -1
local Binary = class(Constraint)

function Binary:init(v1, v2, strength)
  self.strength, self.v1, self.v2, self.direction = strength, v1, v2, nil
  self:add()
  return self
end

function Binary:add_to_graph()
  local a, b = self.v1.constraints, self.v2.constraints
  a[#a + 1] = self
  b[#b + 1] = self
  self.direction = nil
end

function Binary:remove_from_graph()
  remove(self.v1.constraints, self)
  remove(self.v2.constraints, self)
  self.direction = nil
end

function Binary:choose_method(mark)
  local v1, v2 = self.v1, self.v2
  if v1.mark == mark then
    self.direction = v2.mark ~= mark and self.strength < v2.walk and FORWARD or nil
  elseif v2.mark == mark then
    self.direction = self.strength < v1.walk and BACKWARD or nil
  elseif v1.walk > v2.walk then
    self.direction = self.strength < v1.walk and BACKWARD or nil
  else
    self.direction = self.strength < v2.walk and FORWARD or nil
  end
end

function Binary:is_satisfied() return self.direction ~= nil end
function Binary:mark_inputs(mark) self:input().mark = mark end
function Binary:input() return self.direction == FORWARD and self.v1 or self.v2 end
function Binary:output() return self.direction == FORWARD and self.v2 or self.v1 end
function Binary:mark_unsatisfied() self.direction = nil end

function Binary:inputs_known(mark)
  local input = self:input()
  return input.mark == mark or input.stay or input.determined_by == nil
end

function Binary:recalculate()
  local input, out = self:input(), self:output()
  out.walk = weakest_of(self.strength, input.walk)
  out.stay = input.stay
  if out.stay then self:execute() end
end

-- Both have the same value.
local Equal = class(Binary)
function Equal:execute()
  self:output().value = self:input().value
end

-- v2 = v1 * scale + offset, where scale and offset are variables as well.
local Scale = class(Binary)

function Scale:init(source, scale, offset, destination, strength)
  self.scale, self.offset = scale, offset
  return Binary.init(self, source, destination, strength)
end

function Scale:add_to_graph()
  Binary.add_to_graph(self)
  local a, b = self.scale.constraints, self.offset.constraints
  a[#a + 1] = self
  b[#b + 1] = self
end

function Scale:remove_from_graph()
  Binary.remove_from_graph(self)
  remove(self.scale.constraints, self)
  remove(self.offset.constraints, self)
end

function Scale:mark_inputs(mark)
  Binary.mark_inputs(self, mark)
  self.scale.mark, self.offset.mark = mark, mark
end

function Scale:execute()
  if self.direction == FORWARD then
    self.v2.value = self.v1.value * self.scale.value + self.offset.value
  else
    self.v1.value = (self.v2.value - self.offset.value) / self.scale.value
  end
end

function Scale:recalculate()
  local input, out = self:input(), self:output()
  out.walk = weakest_of(self.strength, input.walk)
  out.stay = input.stay and self.scale.stay and self.offset.stay
  if out.stay then self:execute() end
end

local function new(kind, ...)
  return setmetatable({}, kind):init(...)
end

-- The planner.
local Planner = {}
Planner.__index = Planner

function Planner:new_mark()
  self.mark = self.mark + 1
  return self.mark
end

function Planner:incremental_add(c)
  local mark = self:new_mark()
  local overridden = c:satisfy(mark)
  while overridden do overridden = overridden:satisfy(mark) end
end

function Planner:incremental_remove(c)
  local out = c:output()
  c:mark_unsatisfied()
  c:remove_from_graph()
  local unsatisfied = self:remove_propagate_from(out)
  for strength = REQUIRED, WEAKEST do
    for _, u in ipairs(unsatisfied) do
      if u.strength == strength then self:incremental_add(u) end
    end
  end
end

local function add_consumers(v, todo)
  local by = v.determined_by
  local list = v.constraints
  for i = 1, #list do
    local c = list[i]
    if c ~= by and c:is_satisfied() then todo[#todo + 1] = c end
  end
end

function Planner:add_propagate(c, mark)
  local todo = { c }
  while #todo > 0 do
    local d = table.remove(todo)
    if d:output().mark == mark then
      self:incremental_remove(c)
      return false
    end
    d:recalculate()
    add_consumers(d:output(), todo)
  end
  return true
end

function Planner:remove_propagate_from(out)
  out.determined_by, out.walk, out.stay = nil, WEAKEST, true
  local unsatisfied, todo = {}, { out }
  while #todo > 0 do
    local v = table.remove(todo)
    for _, c in ipairs(v.constraints) do
      if not c:is_satisfied() then unsatisfied[#unsatisfied + 1] = c end
    end
    local by = v.determined_by
    for _, c in ipairs(v.constraints) do
      if c ~= by and c:is_satisfied() then
        c:recalculate()
        todo[#todo + 1] = c:output()
      end
    end
  end
  return unsatisfied
end

function Planner:make_plan(sources)
  local mark = self:new_mark()
  local plan, todo = {}, sources
  while #todo > 0 do
    local c = table.remove(todo)
    if c:output().mark ~= mark and c:inputs_known(mark) then
      plan[#plan + 1] = c
      c:output().mark = mark
      add_consumers(c:output(), todo)
    end
  end
  return plan
end

function Planner:plan_from(constraints)
  local sources = {}
  for _, c in ipairs(constraints) do
    if c:is_input() and c:is_satisfied() then sources[#sources + 1] = c end
  end
  return self:make_plan(sources)
end

local function execute(plan)
  for i = 1, #plan do plan[i]:execute() end
end

local function change(v, value)
  local edit = new(Edit, v, PREFERRED)
  local plan = planner:plan_from({ edit })
  for _ = 1, 10 do
    v.value = value
    execute(plan)
  end
  edit:destroy()
end

local function chain(n)
  planner = setmetatable({ mark = 0 }, Planner)
  local first, last, before
  for i = 0, n do
    local v = variable("v" .. i)
    if before then new(Equal, before, v, REQUIRED) end
    first = first or v
    before, last = v, v
  end
  new(Stay, last, STRONG_DEFAULT)
  local edit = new(Edit, first, PREFERRED)
  local plan = planner:plan_from({ edit })
  local sum = 0
  for i = 0, 99 do
    first.value = i
    execute(plan)
    assert(last.value == i, "the chain has broken")
    sum = sum + last.value
  end
  edit:destroy()
  return sum
end

local function projection(n)
  planner = setmetatable({ mark = 0 }, Planner)
  local scale, offset = variable("scale", 10), variable("offset", 1000)
  local source, destination
  local destinations = {}
  for i = 1, n do
    source, destination = variable("source" .. i, i), variable("destination" .. i, i)
    destinations[i] = destination
    new(Stay, source, NORMAL)
    new(Scale, source, scale, offset, destination, REQUIRED)
  end
  change(source, 17)
  assert(destination.value == 1170, "forwards")
  change(destination, 1050)
  assert(source.value == 5, "backwards")
  change(scale, 5)
  for i = 1, n - 1 do assert(destinations[i].value == i * 5 + 1000, "a new scale") end
  change(offset, 2000)
  local sum = 0
  for i = 1, n - 1 do
    assert(destinations[i].value == i * 5 + 2000, "a new offset")
    sum = sum + destinations[i].value
  end
  return sum
end

local n, total = 100, 0
for _ = 1, rounds do
  total = total + chain(n) + projection(n)
end
print(string.format("%d rounds: %d", rounds, total))
assert(total == rounds * (4950 + 5 * n * (n - 1) / 2 + 2000 * (n - 1)))
