-- A chain of __index tables, ninety long, walked for ever by C code.

local object = {}
for _ = 1, 90 do object = setmetatable({}, { __index = object }) end
while true do local _ = object.missing end
