-- A server that loads the module, and then starts its workers: a worker that wants Ctrl-C asks for it again.
require "leash.ctrlc"
local signals = require "testsignals"

if signals.fork() == 0 then
  package.loaded["leash.ctrlc"] = nil
  require "leash.ctrlc"
  os.execute("(sleep 0.2; kill -INT $PPID) &")
  local ok, e = pcall(function() while true do end end)
  print("worker", ok, (tostring(e):match("interrupted!$")))
  io.stdout:flush()
  os.exit(7)
end
print "parent"
