//! `leash.call(limits, f, ...)`: `pcall` with limits.
//!
//! What is called may yield; so between the beginning and the end there may be no frame of ours. On PUC Lua the end is a [continuation](across), on
//! LuaJIT the whole is Lua code between two C functions (`glue.rs`). Here is what both have in common: what becomes of a stop, and the user's hook.
//!
//! A hook that the user has set (`debug.sethook`) is on again after a stop, even if what was stopped has replaced it: the engine takes off whatever is
//! there, and here it is set as it was. For that its function, mask and count are kept on the stack, and only if there is a hook.
//!
//! What could go wrong: the report of a stop owns memory, and the error object that takes it over is made by Lua, which may raise. So that is
//! done inside a protected call of its own ([`hand_over`]), and the report is dropped before anything is raised from here.

mod across;
#[cfg(feature = "luajit")]
mod glue;

#[cfg(not(feature = "luajit"))]
pub use across::push;
#[cfg(feature = "luajit")]
pub use glue::push;

use crate::{attach, stop};
use leash::sys::{self, lua_CFunction, lua_State};
use leash::{Ended, Guest, Stop};
use std::ffi::c_int;

/// Pushes one of the functions that use the upvalues below.
///
/// # Safety
/// In a C function, with some free slots. May raise.
unsafe fn push_closure(l: *mut lua_State, f: lua_CFunction) {
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
        sys::lua_pushboolean(l, 1);
        sys::lua_pushcclosure(l, f, 4);
    }
}

const BUILD: c_int = 1;
const GETHOOK: c_int = 2;
const SETHOOK: c_int = 3;
/// `true`: to copy it is one call, to push it and move it away three.
const TRUE: c_int = 4;

/// The state of `l`, in which a call has begun: so it is attached, and on this thread.
///
/// # Safety
/// In a C function that Lua has called.
#[inline]
unsafe fn entered(l: *mut lua_State) -> Guest {
    // SAFETY: by the caller.
    unsafe { Guest::of(l).unwrap_or_else(|| attach::guest(l)) }
}

/// Pushes what `debug.gethook` returns; returns how many values that are. None if the hook is no function of Lua's.
///
/// # Safety
/// In a closure of [`push_closure`].
#[cold]
unsafe fn push_hook(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. (A script that has `debug` can replace upvalues; what is there is called as any function.)
    unsafe {
        let top = sys::lua_gettop(l);
        sys::luaL_checkstack(l, 4, std::ptr::null());
        sys::lua_pushvalue(l, sys::lua_upvalueindex(GETHOOK));
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            sys::lua_call(l, 0, 3);
            if sys::lua_type(l, top + 1) == sys::LUA_TFUNCTION {
                return 3;
            }
        }
        sys::lua_settop(l, top);
        0
    }
}

/// After a stop: pushes the error object, and sets the user's hook again, which is kept from index `hook` on, if it is. Goes on with a stop that is not
/// that of this call. **longjmp**: may raise.
///
/// # Safety
/// In a closure of [`push_closure`]; `ended.stop` has been taken out as `stop`.
#[cold]
unsafe fn stopped(
    l: *mut lua_State,
    guest: Guest,
    stop: Box<Stop>,
    ended: &Ended,
    hook: Option<c_int>,
) {
    // SAFETY: by the caller. Nothing here owns anything once `hand_over` has consumed the report.
    unsafe {
        let after = hand_over(l, stop);
        if let After::Unwind = after {
            guest.unwind(l);
        }
        if let Some(first) = hook {
            // There is room where the function and its arguments were, or it is made.
            sys::luaL_checkstack(l, 4, std::ptr::null());
            sys::lua_pushvalue(l, sys::lua_upvalueindex(SETHOOK));
            for value in first..first + 3 {
                sys::lua_pushvalue(l, value);
            }
            sys::lua_call(l, 3, 0);
        } else if ended.hook.0.is_some() {
            guest.set_hook(l, ended.hook);
        }
        if let After::Raise = after {
            sys::lua_error(l);
        }
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
/// As [`stopped`].
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
