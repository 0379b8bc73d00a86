//! LuaJIT: a boundary that is made of Lua code.
//!
//! LuaJIT has no `lua_pcallk`: no C function can be yielded across. But its own `pcall` can. So there `leash.call` is a Lua function that
//! calls a C function, which opens the scope, then the stock `pcall`, then a C function that closes it:
//!
//! ```lua
//! local call = begin(limits, ...)
//! return finish(call, pcall(...))
//! ```
//!
//! What could go wrong is what happens between these calls.
//!
//! - **A stop hits the glue itself.** The hook lets it pass: the glue, and the functions that it calls, do not loop, so the next
//!   instruction that is not theirs is soon enough. An error there would leave the call without closing its scope.
//! - **Another error does**: a hook of the script runs between any two instructions, and may raise. Then the scope stays open, for a call that is
//!   no more. So before a scope stops anything, its call is looked for on the stack: each has a frame of the glue. And whoever closes a
//!   scope closes those that were opened inside it in the same coroutine.
//! - **The glue is collected**, and another function gets its address: that would be out of reach. The module keeps it, and it is let pass
//!   only so often in a row.

use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use std::cell::Cell;
use std::ffi::c_void;

/// So many instructions and calls of the glue are let pass in a row. It has about twenty.
const MOST: u32 = 1000;

/// The functions that make up the boundary.
#[derive(Default)]
pub struct Glue {
    functions: Cell<[usize; 4]>,
    passed: Cell<u32>,
}

impl Glue {
    /// The first is the one whose frame is on the stack while a call is open.
    pub fn set(&self, functions: [*const c_void; 4]) {
        self.functions.set(functions.map(|f| f as usize));
    }

    /// Whether calls of the module go through it.
    pub fn is_there(&self) -> bool {
        self.functions.get()[0] != 0
    }

    /// A call begins or ends.
    pub fn is_getting_on(&self) {
        self.passed.set(0);
    }
}

impl State {
    /// Whether the code that runs this hook is part of the boundary.
    ///
    /// # Safety
    /// `l` runs the hook, which was called with `ar`.
    pub unsafe fn is_in_glue(&self, l: *mut lua_State, ar: *mut lua_Debug) -> bool {
        if !cfg!(feature = "luajit") {
            return false;
        }
        let functions = self.glue.functions.get();
        if functions[0] == 0 {
            return false;
        }
        // SAFETY: by the caller; a hook has LUA_MINSTACK free slots.
        let running = unsafe { function(l, &mut *ar) };
        let passed = self.glue.passed.get();
        let is_in = functions.contains(&running) && passed < MOST;
        if is_in {
            self.glue.passed.set(passed + 1);
        }
        is_in
    }

    /// LuaJIT: whether the call of a scope that is to be stopped is still on the stack. Asked once.
    pub fn is_still_there(&self, scope: &Scope) -> bool {
        let glue = self.glue.functions.get()[0];
        if scope.found.replace(true) || glue == 0 {
            return true;
        }
        let mut place = 0;
        let mut s: *const Scope = scope;
        // SAFETY: the scopes of a coroutine stay in place while they are linked.
        while let Some(scope) = unsafe { s.as_ref() } {
            place += 1;
            s = scope.below.get();
        }
        let (mut frames, mut level) = (0, 0);
        // SAFETY: the coroutine of a scope that is in force runs, or waits for one that it has resumed; its stack may be moved (`debug.getlocal` does that
        // too). The slot is given back.
        unsafe {
            let mut ar: lua_Debug = std::mem::zeroed();
            while sys::lua_getstack(scope.l, level, &mut ar) != 0
                && sys::lua_checkstack(scope.l, 1) != 0
            {
                frames += usize::from(function(scope.l, &mut ar) == glue);
                if frames >= place {
                    return true;
                }
                level += 1;
            }
        }
        false
    }
}

/// The function of a frame, by its address.
unsafe fn function(l: *mut lua_State, ar: &mut lua_Debug) -> usize {
    // SAFETY: by the caller: there is a slot.
    unsafe {
        if sys::lua_getinfo(l, c"f".as_ptr(), ar) == 0 {
            return 0;
        }
        let function = sys::lua_topointer(l, -1);
        sys::lua_settop(l, -2);
        function as usize
    }
}
