-- Park and Miller's generator, the same on every Lua; used by shortest_path.lua.
-- `...` is the name under which the module was required.
local name = ...

return {
  name = name,
  new = function(seed)
    return function(n)
      seed = seed * 16807 % 2147483647
      return seed % n + 1
    end
  end,
}
