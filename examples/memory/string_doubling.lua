-- Memory: a string doubled at each step: 1 GB after 30 of them.
-- It is one big allocation that fails, not many small ones. With no limit it
-- ends by itself when the machine has no more: "not enough memory", or on
-- LuaJIT at 2 GB "string length overflow".
local s = "x"
while true do
  s = s .. s
end
