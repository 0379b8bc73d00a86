//! `leash.call(limits, f, ...)`: `pcall` with limits.
//!
//! The stack, from the arguments to the results, without moving one of them:
//!
//! | | 1 | 2 | 3 ... |
//! |---|---|---|---|
//! | called with | `limits` | `f` | arguments |
//! | calls | true | `f` | arguments |
//! | returns | true | results | |
//! | or | false | error or stop | |
//!
//! A hook that the user has set (`debug.sethook`) is on again after a stop, even if what was stopped has replaced it: the engine takes off whatever is
//! there, and here it is set as it was. For that its function, mask and count are kept below all this, and only if there is a hook.
//!
//! What could go wrong: the report of a stop owns memory, and the error object that takes it over is made by Lua, which may raise. So that is
//! done inside a protected call of its own ([`hand_over`]), and the report is dropped before anything is raised from here.

use crate::attach::guest;
use crate::watch::warning;
use crate::{limits, stop};
use leash::Stop;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Pushes the function, which is to be a field of the table on top of the stack.
///
/// # Safety
/// In a C function, with some free slots. May raise.
pub unsafe fn push(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushcfunction(l, stop::build);
        sys::lua_getglobal(l, c"debug".as_ptr());
        for (name, below) in [(c"gethook", -1), (c"sethook", -2)] {
            if sys::lua_type(l, below) == sys::LUA_TTABLE {
                sys::lua_pushstring(l, name.as_ptr());
                sys::lua_rawget(l, below - 1);
            } else {
                sys::lua_pushnil(l);
            }
        }
        sys::lua_remove(l, -3);
        sys::lua_pushcclosure(l, call, 3);
    }
}

// Upvalues of `call`.
const BUILD: c_int = 1;
const GETHOOK: c_int = 2;
const SETHOOK: c_int = 3;

/// `leash.call(limits, f, ...)`
unsafe extern "C-unwind" fn call(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, with the stack it is promised. Nothing here owns anything where Lua runs or may raise; what the
    // engine returns is consumed by `hand_over`.
    unsafe {
        let mut limits = limits::check(l, 1);
        sys::luaL_checkany(l, 2);
        let guest = guest(l);
        let mut below = 0; // values that are kept below all this
        if limits.warns() {
            limits = warning::for_call(l, guest, limits);
            below = 1;
        }
        sys::lua_pushboolean(l, 1);
        sys::lua_replace(l, below + 1);
        let hook = guest.hook(l);
        let kept = below + if hook.0.is_some() { keep_hook(l) } else { 0 };
        let nargs = sys::lua_gettop(l) - kept - 2;
        match guest.call(l, nargs, sys::LUA_MULTRET, 0, &limits) {
            Ok(sys::LUA_OK) => return sys::lua_gettop(l) - kept,
            Ok(_) => {}
            Err(stop) => {
                let after = hand_over(l, stop);
                if let After::Unwind = after {
                    guest.unwind(l);
                }
                if kept > below {
                    restore_hook(l);
                } else if hook.0.is_some() {
                    guest.set_hook(l, hook);
                }
                if let After::Raise = after {
                    sys::lua_error(l);
                }
            }
        }
        sys::lua_pushboolean(l, 0);
        sys::lua_replace(l, kept + 1);
    }
    2
}

/// Puts what `debug.gethook` returns below everything else; returns how many values that are. None if the hook is no function of Lua's.
///
/// # Safety
/// In [`call`].
#[cold]
unsafe fn keep_hook(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. (A script that has `debug` can replace upvalues; what is there is called as any function.)
    unsafe {
        let top = sys::lua_gettop(l);
        sys::luaL_checkstack(l, 4, std::ptr::null());
        sys::lua_pushvalue(l, sys::lua_upvalueindex(GETHOOK));
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            sys::lua_call(l, 0, 3);
            if sys::lua_type(l, top + 1) == sys::LUA_TFUNCTION {
                for _ in 0..3 {
                    sys::lua_insert(l, 1);
                }
                return 3;
            }
        }
        sys::lua_settop(l, top);
        0
    }
}

/// Sets the hook that was kept.
///
/// # Safety
/// In [`call`], after [`keep_hook`].
#[cold]
unsafe fn restore_hook(l: *mut lua_State) {
    // SAFETY: by the caller. There is room where the function and its arguments were, or it is made.
    unsafe {
        sys::luaL_checkstack(l, 4, std::ptr::null());
        sys::lua_pushvalue(l, sys::lua_upvalueindex(SETHOOK));
        for value in 1..=3 {
            sys::lua_pushvalue(l, value);
        }
        sys::lua_call(l, 3, 0);
    }
}

/// What is to be done after a stop.
enum After {
    /// It is this call's; the error object is on the stack.
    Report,
    /// The error object could not be made; the reason is on the stack.
    Raise,
    /// It is that of a call further out.
    Unwind,
}

/// Turns a report into an error object, and drops it.
///
/// # Safety
/// In [`call`].
#[cold]
unsafe fn hand_over(l: *mut lua_State, stop: Box<Stop>) -> After {
    if stop.enclosing {
        return After::Unwind;
    }
    // SAFETY: by the caller; there is room where the function and its arguments were. Copying an upvalue allocates nothing.
    unsafe {
        sys::lua_pushvalue(l, sys::lua_upvalueindex(BUILD));
        let runs = collector_runs(l);
        if runs {
            sys::gc(l, sys::LUA_GCSTOP);
        }
        let status = stop::offer(&stop, || sys::lua_pcall(l, 0, 1, 0));
        if runs {
            sys::gc(l, sys::LUA_GCRESTART);
        }
        match status {
            sys::LUA_OK => After::Report,
            _ => After::Raise,
        }
    }
}

/// Whether the collector runs, to be stopped for a moment. What was stopped may have left garbage with endless finalizers, and
/// here no limit is in force. (5.1 cannot tell, and says yes: a collector that the user has stopped runs again after a stop.)
///
/// # Safety
/// `l` is live, on this thread.
unsafe fn collector_runs(l: *mut lua_State) -> bool {
    // SAFETY: by the caller; it reads a flag.
    unsafe { sys::gc(l, sys::COLLECTOR_IS_RUNNING) != 0 }
}
