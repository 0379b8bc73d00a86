---@meta

-- Types of the module `corowatch`, for editors (LuaLS). Put the folder that this file is in on `workspace.library`.
-- Reference: docs/corowatch.md.

---Called on the coroutine that is late. A truthy answer to `"warn"` starts both limits afresh.
---@alias corowatch.callback fun(what: "warn"|"kill"): any

---What `export` fills in.
---@class corowatch.exported
---@field create fun(f: function): thread
---@field wrap fun(f: function): (fun(...: any): ...: any)
---@field wrapf fun(f: function, kill: number?, warn: number?, cb: corowatch.callback?, hookcount: number?): (fun(...: any): ...: any)
---@field resume fun(co: thread, ...: any): boolean, ...: any
---@field yield fun(...: any): ...: any
---@field status fun(co: thread): "running"|"suspended"|"normal"|"dead"
---@field running fun(): thread?, boolean?
---@field watch fun(co: thread?, kill: number?, warn: number?, cb: corowatch.callback?, hookcount: number?): thread?
---@field gettime fun(): number

---Coroutines that must yield in time: one that does not is warned, then killed.
---@class corowatch
local corowatch = {}

corowatch._VERSION = ""
corowatch._COPYRIGHT = ""
corowatch._DESCRIPTION = ""

---Watches a coroutine from its next resume on. One of `kill` and `warn` is needed; `warn` needs `cb`, and must be smaller than `kill`. A
---coroutine can be watched once.
---@param co? thread # nil: the running coroutine or main state
---@param kill? number # seconds after which it is killed
---@param warn? number # seconds after which `cb("warn")` is called on it
---@param cb? corowatch.callback
---@param hookcount? number # how often a clock of your own is asked, in instructions; default 10000
---@return thread? co # the coroutine (nil for the main state of 5.1 and LuaJIT)
function corowatch.watch(co, kill, warn, cb, hookcount) end

---As `coroutine.create`. What a watched coroutine makes is watched with the same limits.
---@param f function
---@return thread
function corowatch.create(f) end

---As `coroutine.wrap`. What a watched coroutine makes is watched with the same limits, and gives the results of `resume`: `true, ...` or
---`false, message`.
---@param f function
---@return fun(...: any): ...: any
function corowatch.wrap(f) end

---A function that resumes a new coroutine, which has limits of its own; it gives the results of `resume`: `true, ...` or `false, message`.
---@param f function
---@param kill? number # seconds after which it is killed
---@param warn? number # seconds after which `cb("warn")` is called on it
---@param cb? corowatch.callback
---@param hookcount? number # how often a clock of your own is asked, in instructions; default 10000
---@return fun(...: any): ...: any
function corowatch.wrapf(f, kill, warn, cb, hookcount) end

---As `coroutine.resume`, under the watch of `co` if it has one.
---@param co thread
---@param ... any
---@return boolean success
---@return any ...
function corowatch.resume(co, ...) end

---As `coroutine.yield`.
---@async
---@param ... any
---@return any ...
function corowatch.yield(...) end

---As `coroutine.status`. A coroutine that was killed is `"dead"`.
---@param co thread
---@return "running"|"suspended"|"normal"|"dead"
function corowatch.status(co) end

---As `coroutine.running`.
---@return thread? running # 5.1 and LuaJIT: nil in the main state
---@return boolean? ismain # 5.2 and later
function corowatch.running() end

---As `debug.sethook`; an error on a watched coroutine.
---@param thread thread
---@param hook function
---@param mask string
---@param count? integer
---@overload fun(hook: function, mask: string, count?: integer)
---@overload fun(thread: thread)
---@overload fun()
function corowatch.sethook(thread, hook, mask, count) end

---The time in seconds since 1970. Put a clock of your own here, or in a table that `export` has filled: from the next resume on,
---all limits follow it.
---@return number
function corowatch.gettime() end

---Puts the functions into `t.coroutine` and `t.debug` if `t` has them (a table of globals), else into `t` itself, and returns `t`.
---Exported to `_G` it also sets the global `corowatch`, if there is none.
---@generic T: table
---@param t T
---@return T
---@overload fun(): corowatch.exported
function corowatch.export(t) end

return corowatch
