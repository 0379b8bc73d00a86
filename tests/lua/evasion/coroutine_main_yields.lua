-- Yields where it cannot, and catches the error.

while true do pcall(coroutine.yield, 1) end
