-- Calls copies of the functions that were taken before Leash was loaded.

local pcall, create, resume = before.pcall, before.create, before.resume
local function spin() while true do end end
local function protected() while true do pcall(spin) end end
while true do resume(create(protected)) end
