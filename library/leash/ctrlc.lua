---@meta

-- Types of the module `leash.ctrlc`, for editors (LuaLS). Reference: docs/leash.md.

---Once it is loaded, Ctrl-C stops what runs, in coroutines and compiled code too.
---@class leash.ctrlc
local ctrlc = {}

---The version: `"leash 0.1.0"`.
ctrlc._VERSION = ""

return ctrlc
