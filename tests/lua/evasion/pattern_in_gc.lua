-- Finalizers that match for ever, where hooks are off.
-- Needs: guard_stdlib

local s = ("a"):rep(100000)
while true do
  with_finalizer(function() s:find(("a*"):rep(30) .. "b") end)
  collectgarbage()
end
