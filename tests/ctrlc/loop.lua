-- What Ctrl-C has to end: the script says that it is ready, and then does what its argument names.
require "leash.ctrlc"

local what = ...

local function spin()
  local n = 0
  while true do n = n + 1 end
end

print "ready"
io.stdout:flush()

if what == "loop" then
  spin()
elseif what == "coroutine" then
  local inner = coroutine.wrap(function() coroutine.wrap(spin)() end)
  inner()
elseif what == "caught" then
  -- One is caught, as any error. The next one ends the process.
  while true do
    local ok, e = pcall(spin)
    print("caught", ok, e)
    io.stdout:flush()
  end
else
  error("no such thing: " .. tostring(what))
end
