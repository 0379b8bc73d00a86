-- A handler that the host has set is still called, and what runs is broken off.
local signals = require "testsignals"
signals.count_interrupts()
require "leash.ctrlc"

for i = 1, 3 do
  print "ready"
  io.stdout:flush()
  local ok, e = pcall(function() while true do end end)
  print("round", i, ok, (tostring(e):match("interrupted!$")), signals.interrupts())
  io.stdout:flush()
end
