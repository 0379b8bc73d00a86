//! LuaJIT: a boundary that is made of Lua code.
//!
//! LuaJIT has no `lua_pcallk`: no C function can be yielded across. But its own `pcall` can. So there `leash.call` is a Lua function that
//! calls a C function, which opens the scope, then the stock `pcall`, then a C function that closes it:
//!
//! ```lua
//! local begin, finish, refuse, direct, pcall, running = ...
//! return function(limits, ...)
//!   if not running() then return direct(limits, ...) end
//!   local call, f, m, c, w = begin(limits, (...))
//!   if call then return finish(call, f, m, c, w, pcall(...)) end
//!   return refuse(f, limits, ...)
//! end
//! ```
//!
//! `call` is the number that [`Guest::begin`] gives; `f`, `m`, `c` and `w` are for whoever makes the functions, kept as long as the call is open. `begin` returns no number where there can be no call,
//! and need not raise an error itself, which would name this code as the caller: `refuse` stands where the glue stood.
//!
//! The main state, for which `coroutine.running` returns nil, cannot yield anyway. There `direct`, a C function, does it all: an empty call takes 10 ns less. (LuaJIT can
//! be built so that `running` never returns nil. Then calls in the main state are as those in coroutines.)
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

use crate::guest::Guest;
use crate::info;
use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use crate::trace;
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};

/// So many instructions and calls of the glue are let pass in a row. It has about twenty.
const MOST: u32 = 1000;

/// See the module's header.
const TEXT: &CStr = c"local begin, finish, refuse, direct, pcall, running = ...
return function(limits, ...)
  if not running() then return direct(limits, ...) end
  local call, f, m, c, w = begin(limits, (...))
  if call then return finish(call, f, m, c, w, pcall(...)) end
  return refuse(f, limits, ...)
end";

/// In the place of `coroutine.running`, if somebody has replaced that.
const ALWAYS: &CStr = c"return true";

/// Its address is the key of the glue in the registry.
static KEY: u8 = 0;

impl Guest {
    /// LuaJIT: makes the four functions on top of the stack, which are C functions, into a function that calls what it is given with limits; see the
    /// header of `glue.rs`. If the state has one already, it is that. False if there can be none, since somebody has replaced `pcall`; then the
    /// four are gone and nothing is there.
    ///
    /// # Safety
    /// In a C function of this state, with some free slots. May raise.
    pub unsafe fn glue(&self, l: *mut lua_State) -> bool {
        let key: *mut c_void = (&raw const KEY).cast_mut().cast();
        // SAFETY: by the caller. Fields are read without metamethods. What is made is kept in the registry, so it is never collected.
        unsafe {
            let begin = sys::lua_gettop(l) - 3;
            sys::lua_pushlightuserdata(l, key);
            sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
            if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
                sys::lua_replace(l, begin);
                sys::lua_settop(l, begin);
                return true;
            }
            sys::lua_settop(l, -2);
            load(l, TEXT);
            sys::lua_insert(l, begin);
            sys::lua_getglobal(l, c"pcall".as_ptr());
            if sys::lua_iscfunction(l, -1) == 0 {
                sys::lua_settop(l, begin - 1);
                return false;
            }
            let [first, second, pcall] =
                [begin + 1, begin + 2, -1].map(|i| sys::lua_topointer(l, i) as usize);
            push_running(l);
            sys::lua_call(l, 6, 1);
            let made = sys::lua_topointer(l, -1) as usize;
            sys::lua_pushlightuserdata(l, key);
            sys::lua_pushvalue(l, -2);
            sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
            self.state()
                .glue
                .functions
                .set([made, first, second, pcall]);
        }
        true
    }
}

/// Pushes a function. May raise.
///
/// # Safety
/// In a C function, with a free slot.
unsafe fn load(l: *mut lua_State, text: &CStr) {
    let text = text.to_bytes();
    // SAFETY: by the caller.
    unsafe {
        if sys::luaL_loadbuffer(l, text.as_ptr().cast(), text.len(), c"=leash".as_ptr()) != 0 {
            sys::lua_error(l);
        }
    }
}

/// Pushes `coroutine.running`, or what says that a coroutine runs. May raise.
///
/// # Safety
/// In a C function, with three free slots.
unsafe fn push_running(l: *mut lua_State) {
    // SAFETY: by the caller. Only a table has fields that can be read so.
    unsafe {
        let top = sys::lua_gettop(l);
        sys::lua_getglobal(l, c"coroutine".as_ptr());
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_pushstring(l, c"running".as_ptr());
            sys::lua_rawget(l, -2);
        }
        if sys::lua_iscfunction(l, -1) == 0 {
            load(l, ALWAYS);
        }
        sys::lua_replace(l, top + 1);
        sys::lua_settop(l, top + 1);
    }
}

/// So many frames are looked through for that of a call.
const FARTHEST: usize = 200;

/// The functions that make up the boundary. The first is the one whose frame is on the stack while a call is open.
#[derive(Default)]
pub struct Glue {
    functions: Cell<[usize; 4]>,
    passed: Cell<u32>,
}

impl Glue {
    /// Whether calls of the module go through it.
    #[cfg(test)]
    pub fn is_there(&self) -> bool {
        self.functions.get()[0] != 0
    }

    /// The address of the function that calls `pcall`; 0: there is none.
    pub fn boundary(&self) -> usize {
        self.functions.get()[0]
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
        let running = unsafe { function(l, 0, &mut *ar) };
        let passed = self.glue.passed.get();
        let is_in = functions.contains(&running) && passed < MOST;
        if is_in {
            self.glue.passed.set(passed + 1);
        }
        is_in
    }

    /// LuaJIT: whether the call of a scope that is to be stopped is still on the stack. Asked once.
    pub fn is_still_there(&self, scope: &Scope) -> bool {
        scope.found.replace(true) || self.is_on_the_stack(scope)
    }

    /// The same of one that is to be warned, which may be left without a word later on.
    pub fn is_still_there_now(&self, scope: &Scope) -> bool {
        scope.found.get() || self.is_on_the_stack(scope)
    }

    fn is_on_the_stack(&self, scope: &Scope) -> bool {
        let glue = self.glue.functions.get()[0];
        if glue == 0 {
            return true;
        }
        let mut place = 0;
        let mut s: *const Scope = scope;
        // SAFETY: the scopes of a coroutine stay in place while they are linked.
        while let Some(scope) = unsafe { s.as_ref() } {
            place += 1;
            s = scope.below.get();
        }
        let depth = trace::depth(scope.l);
        let mut frames = 0;
        // From the outermost frame on, for what is stopped may be a deep recursion; each look walks through all of it.
        for level in (0..depth).rev().take(FARTHEST) {
            // SAFETY: the coroutine of a scope that is in force runs, or waits for one that it has resumed; its stack may be moved (`debug.getlocal`
            // does that too). The slot is given back.
            unsafe {
                let mut ar: lua_Debug = std::mem::zeroed();
                if sys::lua_getstack(scope.l, level, &mut ar) == 0
                    || sys::lua_checkstack(scope.l, 1) == 0
                {
                    break;
                }
                match function(scope.l, level, &mut ar) {
                    0 => return true, // it may be that; or a limit would be missed
                    function => frames += usize::from(function == glue),
                }
            }
            if frames >= place {
                return true;
            }
        }
        usize::try_from(depth).is_ok_and(|depth| depth > FARTHEST) // taken for granted
    }
}

/// The function of a frame, by its address; zero: it cannot be asked for.
unsafe fn function(l: *mut lua_State, level: c_int, ar: &mut lua_Debug) -> usize {
    // SAFETY: by the caller: there is a slot.
    unsafe {
        if !info::of(l, level, c"f", ar) {
            return 0;
        }
        let function = sys::lua_topointer(l, -1);
        sys::lua_settop(l, -2);
        function as usize
    }
}
