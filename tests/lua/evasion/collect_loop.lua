-- Nothing but full collections.

while true do collectgarbage() end
