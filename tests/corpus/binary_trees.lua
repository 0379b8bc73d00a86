-- Binary trees: builds and walks many short-lived trees next to one that
-- lives throughout; a test of the allocator and the collector.
-- Usage: binary_trees.lua [DEPTH]
local max_depth = tonumber(arg[1]) or 14

local function bottom_up(depth)
  if depth == 0 then return {} end
  return { bottom_up(depth - 1), bottom_up(depth - 1) }
end

local function count(tree)
  local left = tree[1]
  if not left then return 1 end
  return 1 + count(left) + count(tree[2])
end

print(string.format("stretch tree of depth %d: %d nodes", max_depth + 1, count(bottom_up(max_depth + 1))))

local long_lived = bottom_up(max_depth)

for depth = 4, max_depth, 2 do
  local rounds = 2 ^ (max_depth - depth + 4)
  local nodes = 0
  for _ = 1, rounds do nodes = nodes + count(bottom_up(depth)) end
  print(string.format("%6d trees of depth %2d: %d nodes", rounds, depth, nodes))
end

print(string.format("long-lived tree of depth %d: %d nodes", max_depth, count(long_lived)))
