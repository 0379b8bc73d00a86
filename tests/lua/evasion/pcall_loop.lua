-- An error ends the function, pcall catches it, the loop calls again.

local function spin() while true do end end
while true do pcall(spin) end
