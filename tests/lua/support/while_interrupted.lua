-- Interrupts that find a guarded function at work, and let it go on. `leash.guard_stdlib()` has been called before.

local mtint = require "mtint"
local llthreads = require "llthreads2.ex"
local mtmsg = require "mtmsg"

-- The guarded functions: on LuaJIT those that are called by a function in front of them as well.
local function all_guarded()
  local guarded = {}
  for _, list in ipairs { { string, "find", "match", "gmatch", "gsub", "rep" }, { table, "insert", "remove", "concat", "sort", "move" } } do
    for k = 2, #list do
      local f = list[1][list[k]]
      if f then guarded[f] = true end
      for i = 1, f and 10 or 0 do
        local _, value = debug.getupvalue(f, i)
        if type(value) == "function" then guarded[value] = true end
      end
    end
  end
  return guarded
end

-- Runs f again and again, while another thread interrupts it, until so many interrupts have come while a guarded function was at work.
return function(wanted, f)
  local inside, guarded = 0, all_guarded()
  mtint.sethook(function()
    for level = 2, 4 do
      local info = debug.getinfo(level, "f")
      if not info then break end
      if guarded[info.func] then inside = inside + 1 end
    end
    collectgarbage "step"
  end)
  local to = mtmsg.newbuffer()
  local thread = llthreads.new(function(id, inbox)
    local mtmsg, mtint = require "mtmsg", require "mtint"
    inbox = mtmsg.buffer(inbox)
    while inbox:nextmsg(0.0005) == nil do mtint.interrupt(id) end
  end, mtint.id(), to:id())
  thread:start()
  local fine, message = pcall(function()
    while inside < wanted do f() end
  end)
  to:addmsg "end"
  thread:join()
  mtint.interrupt(mtint.id(), false)
  mtint.sethook(nil)
  if not fine then error(message, 0) end
end
