---@meta

-- Types of the module `mtint`, for editors (LuaLS). Put the folder that this file is in on `workspace.library`. Reference: docs/mtint.md.

---Threads and coroutines that any OS thread of the process can interrupt.
---@class mtint
local mtint = {}

---The version: `"leash 0.1.0"`.
mtint._VERSION = ""

---The version, and what the module was built for.
mtint._INFO = ""

---The names by which errors are told apart: every error is a string that contains one of them.
---@class mtint.error
mtint.error = {
  ---This coroutine or state has been interrupted, and has no handler.
  interrupted = "mtint.error.interrupted",
  ---Another name for it: the beginning of `interrupted`.
  interrupt = "mtint.error.interrupt",
  ---5.1 and LuaJIT: only main states can be interrupted.
  not_supported = "mtint.error.not_supported",
  ---The id was never given out, or what it named was collected or closed.
  unknown_object = "mtint.error.unknown_object",
  ---Nothing raises it; here for programs that ask.
  object_exists = "mtint.error.object_exists",
  ---Nothing raises it; here for programs that ask.
  object_closed = "mtint.error.object_closed",
  ---No room for another id or object.
  out_of_memory = "mtint.error.out_of_memory",
}

---The id of a coroutine or main state. It can be passed to any OS thread of the process.
---
---Errors: `not_supported` (5.1 and LuaJIT: not the main state), `out_of_memory`.
---@param co? thread # default: the running coroutine or main state
---@return integer id # below 2^53; a float with a whole value where Lua has no integers
function mtint.id(co) end

---Interrupts what has this id, from any OS thread and any Lua state.
---
---Errors: `unknown_object`.
---@param id integer|mtint.interruptible
---@param flag? boolean # nil: once; true: at every operation, again and again; false: takes back what has not arrived yet
---@return boolean exists # false if it is gone, and only an interruptible object keeps its id known
function mtint.interrupt(id, flag) end

---Sets what is called on a coroutine or main state each time that it is interrupted. nil: the error `interrupted` again.
---
---The handler may raise any error and call anything, but not yield. When it returns, the code goes on.
---
---Errors: `not_supported` (5.1 and LuaJIT: not the main state).
---@param co? thread # nil: the running coroutine or main state
---@param func fun()|nil
---@overload fun(func: fun()|nil)
function mtint.sethook(co, func) end

---Keeps an id known in the whole process while it lives, also when what the id names is gone.
---@class mtint.interruptible: userdata
local interruptible = {}

---The id.
---@return integer
function interruptible:id() end

---As `mtint.interrupt(id, flag)`, but an id is never unknown.
---@param flag? boolean # nil: once; true: at every operation, again and again; false: takes back what has not arrived yet
---@return boolean exists # false once the coroutine or state is gone
function interruptible:interrupt(flag) end

---An object that keeps an id known.
---
---Errors: `unknown_object`, `out_of_memory`.
---@param id integer
---@return mtint.interruptible
function mtint.interruptible(id) end

return mtint
