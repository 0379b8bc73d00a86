-- An expression language with three back ends that must agree: a tree walker,
-- a compiler to closures and a compiler to byte code for a small stack machine.
-- Usage: calculator.lua [ROUNDS]
local rounds = tonumber(arg[1]) or 45000

-- Parser: precedence climbing over + - * / % ^ < = ?: and min, max, abs.
local binary = {
  ["?"] = 1, ["<"] = 2, ["="] = 2, ["+"] = 3, ["-"] = 3, ["*"] = 4, ["/"] = 4, ["%"] = 4, ["^"] = 6,
}
local arity = { min = 2, max = 2, abs = 1 }

local function parse(source)
  local tokens, pos = {}, 1
  local at = 1
  while true do
    at = source:find("%S", at)
    if not at then break end
    local token = source:match("^[%d.]+", at) or source:match("^[%a_]+", at) or source:sub(at, at)
    tokens[#tokens + 1] = token
    at = at + #token
  end

  local function take(expected)
    local token = tokens[pos]
    if expected and token ~= expected then
      error(string.format("'%s' expected near '%s'", expected, tostring(token)), 0)
    end
    pos = pos + 1
    return token
  end

  local expression

  local function primary()
    local token = take()
    if not token then error("unexpected end", 0) end
    if tonumber(token) then return { op = "number", value = tonumber(token) } end
    if token == "(" then
      local inner = expression(1)
      take(")")
      return inner
    end
    if token == "-" then return { op = "neg", expression(5) } end
    if arity[token] then
      local node = { op = token }
      take("(")
      for i = 1, arity[token] do
        if i > 1 then take(",") end
        node[i] = expression(1)
      end
      take(")")
      return node
    end
    if token:find("^%a") then return { op = "name", value = token } end
    error("unexpected '" .. token .. "'", 0)
  end

  function expression(level)
    local left = primary()
    while true do
      local op = tokens[pos]
      local power = binary[op]
      if not power or power < level then return left end
      take()
      if op == "?" then
        local yes = expression(1)
        take(":")
        left = { op = "?", left, yes, expression(1) }
      else
        left = { op = op, left, expression(op == "^" and power or power + 1) }
      end
    end
  end

  local tree = expression(1)
  if tokens[pos] then error("unexpected '" .. tokens[pos] .. "'", 0) end
  return tree
end

local apply = {
  ["+"] = function(a, b) return a + b end,
  ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return a / b end,
  ["%"] = function(a, b) return a % b end,
  ["^"] = function(a, b) return a ^ b end,
  ["<"] = function(a, b) return a < b and 1 or 0 end,
  ["="] = function(a, b) return a == b and 1 or 0 end,
  min = function(a, b) return a < b and a or b end,
  max = function(a, b) return a > b and a or b end,
  abs = function(a) return a < 0 and -a or a end,
  neg = function(a) return -a end,
}

-- First back end: walks the tree.
local function walk(node, env)
  local op = node.op
  if op == "number" then return node.value end
  if op == "name" then return env[node.value] or error("unknown name " .. node.value, 0) end
  if op == "?" then
    if walk(node[1], env) ~= 0 then return walk(node[2], env) end
    return walk(node[3], env)
  end
  return apply[op](walk(node[1], env), node[2] and walk(node[2], env))
end

-- Second back end: a closure for each node.
local function closure(node)
  local op = node.op
  if op == "number" then
    local value = node.value
    return function() return value end
  elseif op == "name" then
    local name = node.value
    return function(env) return env[name] or error("unknown name " .. name, 0) end
  elseif op == "?" then
    local test, yes, no = closure(node[1]), closure(node[2]), closure(node[3])
    return function(env)
      if test(env) ~= 0 then return yes(env) end
      return no(env)
    end
  end
  local a, b, f = closure(node[1]), node[2] and closure(node[2]), apply[op]
  if not b then return function(env) return f(a(env)) end end
  if op == "+" then return function(env) return a(env) + b(env) end end
  if op == "*" then return function(env) return a(env) * b(env) end end
  return function(env) return f(a(env), b(env)) end
end

-- Third back end: code for a stack machine, a flat list of op codes and operands.
local function assemble(node, code)
  local op = node.op
  local function put(name, operand)
    code[#code + 1] = name
    if operand ~= nil then code[#code + 1] = operand end
    return #code
  end
  if op == "number" then put("push", node.value)
  elseif op == "name" then put("load", node.value)
  elseif op == "?" then
    assemble(node[1], code)
    local to_no = put("jump_if_zero", 0)
    assemble(node[2], code)
    local to_end = put("jump", 0)
    code[to_no] = #code + 1
    assemble(node[3], code)
    code[to_end] = #code + 1
  else
    for _, child in ipairs(node) do assemble(child, code) end
    put(op)
  end
  return code
end

local function run(code, env)
  local stack, top, pc = {}, 0, 1
  local size = #code
  while pc <= size do
    local op = code[pc]
    if op == "push" then
      top = top + 1
      stack[top] = code[pc + 1]
      pc = pc + 2
    elseif op == "load" then
      top = top + 1
      stack[top] = env[code[pc + 1]] or error("unknown name " .. code[pc + 1], 0)
      pc = pc + 2
    elseif op == "jump" then
      pc = code[pc + 1]
    elseif op == "jump_if_zero" then
      pc = stack[top] == 0 and code[pc + 1] or pc + 2
      top = top - 1
    elseif op == "neg" or op == "abs" then
      stack[top] = apply[op](stack[top])
      pc = pc + 1
    else
      top = top - 1
      stack[top] = apply[op](stack[top], stack[top + 1])
      pc = pc + 1
    end
  end
  return stack[1]
end

local sources = {
  "1 + 2 * 3 - 4 / 8",
  "(x + 1) * (y - 2) % 17",
  "-x ^ 2 + 2 ^ 3 ^ 0.5",
  "x < y ? x * 10 : y * 10 + 1",
  "max(abs(x - 50), min(y, 33)) * 1.5",
  "x % 3 = 0 ? (x % 5 = 0 ? 15 : 3) : x % 5 = 0 ? 5 : x",
  "((((x + 1) * x + 2) * x + 3) * x + 4) / (abs(y) + 1)",
}

for _, source in ipairs(sources) do
  local tree = parse(source)
  local compiled, code = closure(tree), assemble(tree, {})
  local env = { x = 0, y = 0 }
  local sum = 0
  for round = 1, rounds do
    env.x = round % 101
    env.y = round * 7 % 89 - 40
    local a, b, c = walk(tree, env), compiled(env), run(code, env)
    if a ~= b or b ~= c then error(string.format("%s: %g, %g, %g", source, a, b, c)) end
    sum = sum + a
  end
  print(string.format("%-55s %2d codes  %.6g", source, #code, sum))
end

for _, source in ipairs { "1 +", "(1", "2 3", "min(1)", "*" } do
  print(source, select(2, pcall(parse, source)))
end
print(select(2, pcall(walk, parse("x + z"), { x = 1 })))
