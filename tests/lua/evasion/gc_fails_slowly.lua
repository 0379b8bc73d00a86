-- A finalizer that does nothing but call C functions that take some milliseconds, and then fail.
-- Needs: guard_stdlib

local digits = ("1"):rep(1000000) .. "x"
local options = ("i4"):rep(300000) .. "?"
local function handler() end
with_finalizer(function()
  while true do
    pcall(math.abs, digits)
    xpcall(tonumber, handler, digits, {})
    pcall(pcall, string.packsize or math.abs, options)
    pcall(table.concat, { digits, digits, {} })
  end
end)
while true do collectgarbage() end
