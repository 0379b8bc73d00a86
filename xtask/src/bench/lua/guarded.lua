-- Returns the module leash. On LuaJIT it first makes sure that compiled code is guarded, and not kept from running: Leash decides that by a
-- trial when it is loaded, which can fail on a loaded machine. Then the process ends with code 75, and whoever measures starts it again.

local leash = require "leash"
if leash.info().jit == "interpreted" then os.exit(75) end
return leash
