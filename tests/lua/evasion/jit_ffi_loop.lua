-- Compiled code that touches nothing but C data.
-- Only: luajit

local ffi = require "ffi"
local a = ffi.new "int[16]"
while true do for i = 0, 15 do a[i] = a[i] + i end end
