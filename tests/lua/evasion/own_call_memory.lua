-- Runs into its own memory limit again and again.

local leash = require "leash"
local function hoard() local t = {} while true do t[#t + 1] = { #t } end end
while true do leash.call({ memory = 100000 }, hoard) end
