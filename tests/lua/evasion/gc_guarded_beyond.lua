-- Finalizers as in gc_pcalls_beyond; between their protected calls are guarded functions of the library, and load, which has one of its own.
-- Needs: guard_stdlib

local function spin() while true do end end
local inside = {
  function() pcall(string.gsub, "x", "x", spin) end,
  function() pcall(string.rep, "x", 1e9) end,
  function() pcall(table.sort, { 1, 2, 3 }, spin) end,
  function() for _ in string.gmatch(("a"):rep(40), ("a*"):rep(30) .. "b") do end end,
  function() pcall(load, spin) end,
}
local function overflow() return 1 + overflow() end
for _, f in ipairs(inside) do
  local function catch() while true do pcall(f) end end
  with_finalizer(function()
    for _ = 1, 3 do pcall(overflow) end
    while true do xpcall(overflow, catch) end
  end)
end
while true do collectgarbage() end
