-- pcall in pcall in a coroutine, where they nest without end.

local function f() repeat pcall(f) until false end
coroutine.wrap(f)()
