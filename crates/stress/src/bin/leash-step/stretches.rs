//! The stretches of code in which an interrupt lands after each instruction in turn.
//!
//! Each is a function that does something once; the instructions from the return of `step()` to the call of `over()` count. What it returns must
//! be the same whenever an interrupt comes (a function is called for it, once the interrupt has arrived).

use std::fmt;

/// Where the stretch begins and ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// `step()` and `over()` are called by the program.
    Inside,
    /// From before the outermost call to its first instructions.
    Entering,
    /// From its last instructions to after its return.
    Leaving,
}

/// See the module's header.
pub struct Stretch {
    pub name: &'static str,
    pub bounds: Bounds,
    /// Called `f()`; calls `step` and `over`.
    pub code: &'static str,
    pub only_luajit: bool,
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// Runs once in each state: takes away what no stretch needs, for a collection looks at everything there is.
pub const SETUP: &str = "
    local kept = {coroutine = 1, debug = 1, collectgarbage = 1, pcall = 1, error = 1, type = 1, assert = 1, gc = 1, jit = 1,
        loadstring = 1, step = 1, over = 1, arrived = 1, limited = 1, share = 1}
    local loaded, gone, next, collectgarbage, _G = package.loaded, {}, next, collectgarbage, _G
    for name in next, loaded do gone[name] = true end
    for name in next, gone do loaded[name] = nil end
    gone = {}
    for name in next, _G do gone[name] = not kept[name] end
    for name, yes in next, gone do if yes then _G[name] = nil end end
    gone = nil
    collectgarbage() collectgarbage()
    return 'ready'";

/// Runs before a stretch, in the same function.
pub const PREPARE: &str = "
    local step, over, limited, arrived = step, over, limited, arrived
    local create, resume, yield, status = coroutine.create, coroutine.resume, coroutine.yield, coroutine.status
    local sethook, gethook, pcall, error, type = debug.sethook, debug.gethook, pcall, error, type
    local collectgarbage = collectgarbage
";

/// All of them.
pub const ALL: &[Stretch] = &[
    inside(
        "resume-yield",
        "local co = create(function(a) while true do a = yield(a) end end)
         resume(co, 0)
         step()
         local _, a = resume(co, 1)
         local _, b = resume(co, 2)
         over()
         return a .. b .. status(co)",
    ),
    inside(
        "nested-resume",
        "local deep = create(function(a) while true do a = yield(a) end end)
         local co = create(function(a) while true do local _, b = resume(deep, a) a = yield(b) end end)
         resume(co, 0)
         step()
         local _, a = resume(co, 1)
         over()
         return a .. status(co) .. status(deep)",
    ),
    inside(
        "sethook",
        "local f = function() end
         step()
         sethook(f, 'c', 1000)
         sethook(f, '', 100)
         sethook()
         over()
         return function() return type(gethook()) end",
    ),
    inside(
        "sethook-in-coroutine",
        "local f = function() end
         local co = create(function(a) while true do a = yield(a) end end)
         resume(co, 0)
         step()
         sethook(co, f, 'crl')
         local _, a = resume(co, 1)
         sethook(co)
         over()
         return a .. status(co)",
    ),
    inside(
        "create-and-die",
        "step()
         local co = create(function(a) return a + 1 end)
         local _, a = resume(co, 1)
         over()
         return a .. status(co)",
    ),
    inside(
        "die-by-error",
        "local co = create(function(a) error('x', 0) end)
         step()
         local _, a = resume(co, 1)
         over()
         return a .. status(co)",
    ),
    inside(
        "pcall-that-fails",
        "step()
         local ok, e = pcall(error, 'e', 0)
         over()
         return e",
    ),
    inside(
        "error-through-frames",
        "local function deep(n) if n == 0 then error('deep', 0) end deep(n - 1) return n end
         step()
         local ok, e = pcall(deep, 3)
         over()
         return e",
    ),
    inside(
        "limited-call",
        "local f = function() return 'in' end
         step()
         local ok, e = limited(f)
         over()
         return e",
    ),
    inside(
        "limited-call-that-fails",
        "local f = function() error('in', 0) end
         step()
         local ok, e = limited(f)
         over()
         return e",
    ),
    inside(
        "collector-step",
        "collectgarbage()
         local made = {}
         for i = 1, 20 do made[i] = create(function() end) end
         made = nil
         step()
         collectgarbage('step', 0)
         over()
         return 'collected'",
    ),
    inside(
        "collection",
        "local co = create(function() end)
         resume(co)
         co = create(function() end)
         co = nil
         step()
         collectgarbage()
         over()
         return 'collected'",
    ),
    inside(
        "finalizer",
        "local done = 0
         gc(function() done = done + 1 end)
         step()
         collectgarbage()
         over()
         return done",
    ),
    Stretch {
        name: "compiled-loop",
        bounds: Bounds::Inside,
        code: "local function f(n) local s = 0 for i = 1, n do s = s + i % 3 end return s end
               f(300)
               step()
               local s = f(30)
               over()
               return s",
        only_luajit: true,
    },
    Stretch {
        name: "recording",
        bounds: Bounds::Inside,
        // A function of its own each time, so that it is recorded each time.
        code: "local f = loadstring('local s = 0 for i = 1, 70 do s = s + i % 3 end return s')
               step()
               local s = f()
               over()
               return s",
        only_luajit: true,
    },
    Stretch {
        name: "entering",
        bounds: Bounds::Entering,
        code: "over() return 'in'",
        only_luajit: false,
    },
    Stretch {
        name: "leaving",
        bounds: Bounds::Leaving,
        code: "step() return 'out'",
        only_luajit: false,
    },
];

const fn inside(name: &'static str, code: &'static str) -> Stretch {
    Stretch {
        name,
        bounds: Bounds::Inside,
        code,
        only_luajit: false,
    }
}
