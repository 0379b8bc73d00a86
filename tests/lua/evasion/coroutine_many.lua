-- Twenty thousand suspended coroutines, which all have to be reached, and are resumed in turn.

local cos = {}
local function body() while true do coroutine.yield() end end
while true do
  for i = 1, 20000 do
    local co = cos[i]
    if not co or coroutine.status(co) == "dead" then co = coroutine.create(body) cos[i] = co end
    coroutine.resume(co)
  end
end
