-- A coroutine that was made, and has run, before the limit was set.

while true do coroutine.resume(older()) end
