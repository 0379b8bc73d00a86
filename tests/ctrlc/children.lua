-- Children hear Ctrl-C: each of these sends it to itself.
require "leash.ctrlc"
require "leash.ctrlc" -- as ever, once is enough

local kills_itself = "kill -INT $$; echo survived"
local popen = io.popen(kills_itself)
print("popen", popen:read("*a") == "", popen:close())
print("execute", os.execute(kills_itself))
print("arguments", (select(2, pcall(io.popen))), (select(2, pcall(os.execute, {}))))
local function wrong(...) return io.popen(...):close() end
print("mode", (select(2, pcall(io.popen, "true", "x"))), (select(2, pcall(wrong, "true", "x"))))
print("works", io.popen("echo yes"):read("*l"), (os.execute("exit 0")))
