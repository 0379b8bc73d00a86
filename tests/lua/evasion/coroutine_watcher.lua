-- A watcher that makes a new worker as fast as they die, and is watched by another.

local function worker() while true do end end
local function watcher()
  while true do
    local co = coroutine.create(worker)
    while coroutine.status(co) ~= "dead" do coroutine.resume(co) end
  end
end
while true do
  local co = coroutine.create(watcher)
  while coroutine.status(co) ~= "dead" do coroutine.resume(co) end
end
