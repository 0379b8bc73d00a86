-- A stack overflow in the handler of a stack overflow.

local function deep() return 1 + deep() end
while true do xpcall(deep, deep) end
