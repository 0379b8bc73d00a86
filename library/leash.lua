---@meta

-- Types of the module `leash`, for editors (LuaLS). Put the folder that this file is in on `workspace.library`. Reference: docs/leash.md.

---Stops, bounds and observes running Lua code.
---@class leash
local leash = {}

---The version: `"leash 0.1.0"`.
leash._VERSION = ""

---Limits of a call. What is not there is not limited; a value that is too large to be reached is no limit.
---@class leash.limits
---@field timeout? number # seconds of wall-clock time
---@field cpu? number # seconds of CPU time of the thread
---@field instructions? number # instructions of the virtual machine; a whole number
---@field memory? number # bytes that the state may grow by; a whole number
---@field sigint? boolean # true: Ctrl-C ends the call
---@field warn? number # seconds until `on_warn` is called; less than `timeout`
---@field on_warn? fun(info: leash.warning): boolean|number|nil # true: the limits start afresh; a number: so many seconds more

---What `on_warn` is told.
---@class leash.warning
---@field elapsed number # seconds since the beginning of the call, or the resume
---@field timeout? number # seconds from there to the end; none: there is no `timeout`

---Limits of a watched coroutine. They count from each resume.
---@class leash.watching
---@field timeout? number # seconds of wall-clock time
---@field warn? number # seconds until `on_warn` is called; less than `timeout`
---@field on_warn? fun(info: leash.warning): boolean|number|nil # true: the limits start afresh; a number: so many seconds more

---What `leash.call` returns if a limit has ended it. Scripts cannot make one.
---@class leash.stop: userdata
---@field reason "timeout"|"cpu"|"instructions"|"memory"|"interrupt"|"kill"
---@field message string # `"timeout of 50ms reached after 0.050s"`; `tostring` and `..` give and take the same
---@field traceback string # where the code was
---@field elapsed number # seconds from the beginning of the call to its end
---@operator concat(any): string

---`pcall` with limits. Lua code that runs inside ends when a limit is reached, whatever it does. In a coroutine `f` may yield across it (not on 5.1): `timeout`
---goes on while it is suspended, and stops it when it is next resumed.
---@param limits number|leash.limits|leash.prepared # a number: `timeout`
---@param f function
---@param ... any # arguments of `f`
---@return boolean ok
---@return any ... # the results of `f`; or the error; or a `leash.stop`
function leash.call(limits, f, ...) end

---Limits that have been read once, by `leash.limits`. They cannot be changed; `tostring` tells what they are.
---@class leash.prepared: userdata

---Reads limits, so that `leash.call` need not: that makes a call cheaper by a fourth.
---@param limits number|leash.limits|leash.prepared
---@return leash.prepared
function leash.limits(limits) end

---Why a call was stopped. Nil for whatever is no `leash.stop`, even if it looks like one.
---@param err any
---@return "timeout"|"cpu"|"instructions"|"memory"|"interrupt"|"kill"|nil
function leash.reason(err) end

---The id of a coroutine or main state. It can be passed to any OS thread of the process; it is the one that `mtint.id` gives.
---
---5.1 and LuaJIT: the module must have been required, or used, in the main state before.
---@param co? thread # default: the running coroutine or main state
---@return integer id # below 2^53; a float with a whole value where Lua has no integers
function leash.id(co) end

---The id of the whole state: it means whatever runs in it. It can be passed to any OS thread of the process.
---@return integer id # below 2^53; a float with a whole value where Lua has no integers
function leash.state_id() end

---Interrupts the coroutine or state that has this id, once: it gets the error `interrupted`, or its handler
---(`leash.on_interrupt`, `mtint.sethook`) is called. From any OS thread, and from any Lua state.
---@param id integer
---@param message? string # passed to the handler, and part of the error
---@return boolean exists # false if nothing has this id, or no longer
function leash.interrupt(id, message) end

---Ends the coroutine that has this id and all that it has resumed, or what the state runs up to its outermost `leash.call` (without one: up to the
---host). It cannot be caught inside. From any OS thread, and from any Lua state.
---@param id integer
---@param message? string # the `message` of the stop
---@return boolean exists # false if nothing has this id, or no longer
function leash.kill(id, message) end

---Where the coroutine or state with this id is right now; it is not stopped. From any OS thread, and from any Lua state.
---@param id integer
---@param timeout? number # seconds to wait for an answer; default: 1
---@return string? traceback
---@return nil|"timeout"|"gone" why # timeout: it has run nothing of Lua meanwhile
function leash.traceback(id, timeout) end

---Has a coroutine yield in time. If it does not, it ends, and whoever has resumed it gets false and a `leash.stop`. Nil takes the watch away, which is
---possible only from outside of what is watched.
---@param co thread? # default: the running coroutine; the main state's watch is for the coroutines that it makes
---@param limits number|leash.watching|nil # a number: `timeout`
---@return thread? co # the coroutine, if one was given
---@overload fun(limits: number|leash.watching|nil)
function leash.watch(co, limits) end

---`coroutine.create`; the new coroutine inherits the watch under which it is made.
---@param f function
---@return thread co
function leash.create(f) end

---`coroutine.resume`, with the exact time from here on for a watched coroutine.
---@param co thread
---@param ... any
---@return boolean ok
---@return any ... # what it yields or returns; or the error; or a `leash.stop`
function leash.resume(co, ...) end

---`coroutine.wrap`; the new coroutine inherits the watch under which it is made, and its time is exact.
---@param f function
---@return function
function leash.wrap(f) end

---Sets what is called when a coroutine is interrupted, instead of the error. It runs on that coroutine, with hooks off, and may raise any error.
---@param co thread? # default: the running coroutine or main state
---@param f fun(message: string?)? # nil: the error again
---@return function? previous
---@overload fun(f: function?): function?
function leash.on_interrupt(co, f) end

---Puts functions that limits and interrupts can stop into the place of `string.find`, `match`, `gmatch`, `gsub` and `rep`, and of `table.insert`, `remove`,
---`concat`, `sort` and `move`, and of `load` and `loadstring`; on 5.1 to 5.5 also a `pcall` and an `xpcall` that finalizers cannot hide behind. They do the same on every input. Only the originals are replaced, also as methods of strings; local copies that were taken before are not. Never done by `require`.
---@param env? table # whose fields are meant, and those of its `string` and `table`; default: the globals
---@return table env
function leash.guard_stdlib(env) end

---What is in force.
---@class leash.info
---@field engine "lua51"|"lua52"|"lua53"|"lua54"|"lua55"|"luajit" # what the module was built for
---@field version string # what it runs on: `"Lua 5.4"`, `"LuaJIT 2.1.0-beta3"`
---@field hooks "coroutine"|"state" # what a hook belongs to: each coroutine, or the whole state (LuaJIT)
---@field jit "none"|"interpreted"|"guarded" # how compiled code is reached while it runs

---What the module was built for, what it runs on, and what it can reach there.
---@return leash.info
function leash.info() end

return leash
