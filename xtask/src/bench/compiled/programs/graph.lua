-- Loops in control-flow graphs: random reducible and irreducible graphs, their dominators (iterated to a fixed point), their strongly
-- connected components (Tarjan), and the loops that both tell of.
-- Usage: graph.lua [ROUNDS] [BLOCKS]
local rounds, blocks = tonumber(arg[1]) or 10, tonumber(arg[2]) or 2000

local seed = 1234
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end

local function flow_graph(n)
  local nodes = {}
  for i = 1, n do nodes[i] = { id = i, to = {}, from = {}, number = nil, low = 0, dominator = nil, order = 0 } end
  local function edge(a, b)
    a.to[#a.to + 1] = b
    b.from[#b.from + 1] = a
  end
  for i = 1, n - 1 do
    edge(nodes[i], nodes[i + 1])
    local kind = random(10)
    if kind <= 3 then
      edge(nodes[i], nodes[math.min(n, i + random(8))]) -- a branch
    elseif kind <= 5 then
      edge(nodes[i], nodes[math.max(1, i - random(12))]) -- a loop
    elseif kind == 6 and i % 7 == 0 then
      edge(nodes[i], nodes[random(n)]) -- anything
    end
  end
  return nodes
end

-- In reverse postorder, without recursion: graphs are deep.
local function ordered(nodes)
  local post, stack, seen = {}, { nodes[1] }, { [nodes[1]] = 0 }
  while #stack > 0 do
    local node = stack[#stack]
    local nth = seen[node] + 1
    seen[node] = nth
    local to = node.to[nth]
    if not to then
      stack[#stack] = nil
      post[#post + 1] = node
    elseif not seen[to] then
      seen[to] = 0
      stack[#stack + 1] = to
    end
  end
  local order = {}
  for i = #post, 1, -1 do
    order[#order + 1] = post[i]
    post[i].order = #order
  end
  return order
end

local function dominators(order)
  local entry = order[1]
  entry.dominator = entry
  local changed = true
  while changed do
    changed = false
    for i = 2, #order do
      local node, best = order[i], nil
      for _, from in ipairs(node.from) do
        if from.dominator then
          if not best then
            best = from
          else
            local a, b = best, from
            while a ~= b do
              while a.order > b.order do a = a.dominator end
              while b.order > a.order do b = b.dominator end
            end
            best = a
          end
        end
      end
      if node.dominator ~= best then
        node.dominator = best
        changed = true
      end
    end
  end
end

local function dominates(a, b)
  while b.order > a.order do b = b.dominator end
  return a == b
end

-- The sizes of the strongly connected components that are loops.
local function components(nodes)
  local number, stack, on_stack, sizes = 0, {}, {}, {}
  local function visit(root)
    local calls = { { root, 0 } }
    while #calls > 0 do
      local call = calls[#calls]
      local node = call[1]
      if call[2] == 0 then
        number = number + 1
        node.number, node.low = number, number
        stack[#stack + 1] = node
        on_stack[node] = true
      else
        local to = node.to[call[2]]
        if to.low < node.low and on_stack[to] then node.low = to.low end
      end
      local next_call
      for k = call[2] + 1, #node.to do
        local to = node.to[k]
        if not to.number then
          call[2] = k
          next_call = { to, 0 }
          break
        elseif on_stack[to] and to.number < node.low then
          node.low = to.number
        end
      end
      if next_call then
        calls[#calls + 1] = next_call
      else
        if node.low == node.number then
          local size = 0
          repeat
            local member = stack[#stack]
            stack[#stack] = nil
            on_stack[member] = nil
            size = size + 1
          until member == node
          if size > 1 then sizes[#sizes + 1] = size end
        end
        calls[#calls] = nil
      end
    end
  end
  for _, node in ipairs(nodes) do
    if not node.number then visit(node) end
  end
  return sizes
end

local loops, strange, connected, nodes_in = 0, 0, 0, 0
for _ = 1, rounds do
  local nodes = flow_graph(blocks)
  local order = ordered(nodes)
  assert(#order == blocks)
  dominators(order)
  for _, node in ipairs(order) do
    for _, to in ipairs(node.to) do
      if dominates(to, node) then
        loops = loops + 1 -- a back edge
      elseif to.order <= node.order then
        strange = strange + 1 -- a loop with two ways in
      end
    end
  end
  local sizes = components(nodes)
  connected = connected + #sizes
  for _, size in ipairs(sizes) do nodes_in = nodes_in + size end
end
print(string.format("%d graphs: %d back edges, %d irreducible, %d components of %d blocks", rounds, loops, strange, connected, nodes_in))
