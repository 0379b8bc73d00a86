---@meta

-- Types of the module `leash`, for editors (LuaLS). Put the folder that this file is in on `workspace.library`. Reference: docs/leash.md.

---Stops, bounds and observes running Lua code.
---@class leash
local leash = {}

---The version: `"leash 0.1.0"`.
leash._VERSION = ""

---The id of a coroutine or main state. It can be passed to any OS thread of the process; it is the one that `mtint.id` gives.
---
---LuaJIT: main states only. 5.1 and LuaJIT: the module must have been required, or used, in the main state before.
---@param co? thread # default: the running coroutine or main state
---@return integer id # below 2^53; a float with a whole value where Lua has no integers
function leash.id(co) end

---Interrupts the coroutine or main state that has this id, once: it gets the error `interrupted`, or its handler of
---`mtint.sethook` is called. From any OS thread, and from any Lua state.
---@param id integer
---@return boolean exists # false if nothing has this id, or no longer
function leash.interrupt(id) end

---What is in force.
---@class leash.info
---@field engine "lua51"|"lua52"|"lua53"|"lua54"|"lua55"|"luajit" # what the module was built for
---@field version string # what it runs on: `"Lua 5.4"`, `"LuaJIT 2.1.0-beta3"`
---@field hooks "coroutine"|"state" # what is interrupted by itself: each coroutine, or only the whole state (LuaJIT)
---@field jit "none"|"interpreted" # of an engine with a compiler, the code that is reached while it runs

---What the module was built for, what it runs on, and what it can reach there.
---@return leash.info
function leash.info() end

return leash
