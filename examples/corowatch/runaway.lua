-- A runaway coroutine is warned, and then killed.
--
-- The watch allows 0.4 seconds without a yield and warns after 0.1. Three times the
-- callback answers the warning with true, which starts both limits afresh; the
-- fourth time with false, and the coroutine is killed: `resume` returns the error.

require "corowatch".export(_G)

local load = loadstring or load
local warncount = 0

local function callback(reason)
    if reason == "warn" then
        warncount = warncount + 1
        local more_time = warncount < 4
        print("warning " .. warncount .. (more_time and ": take more time" or ": this was the last one"))
        return more_time
    end
    print("callback: " .. tostring(reason))
end

local runaway = coroutine.create(function()
    local n = 0
    -- The detour through `load` is for LuaJIT: in a loop compiled to machine code
    -- nothing can stop it, one that calls the compiler of Lua can be stopped.
    while true do n = load("return 1 + " .. n)() end
end)

coroutine.watch(runaway, 0.4, 0.1, callback)

print("resuming it")
local ok, err = coroutine.resume(runaway)

print("ended well: " .. tostring(ok))
print("status:     " .. coroutine.status(runaway))
print("error:      " .. tostring(err):match("[^\n]*without yielding") or tostring(err))
assert(not ok and warncount == 4)
