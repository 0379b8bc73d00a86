//! `leash.call` as a C function, and its continuation.
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
//! The user's hook, if there is one, is kept below all this, and a table for `on_warn`. How many values that are, the continuation hears from the engine.
//!
//! Where the calling coroutine cannot yield (a metamethod, a comparison of `table.sort`), `lua_pcallk` is a plain `lua_pcall`.

use super::{TRUE, entered, push_closure, push_hook, stopped};
use crate::attach::guest;
use crate::limits;
use crate::watch::warning;
use leash::Guest;
use leash::sys::{self, Continuation, lua_State};
use std::ffi::c_int;

/// Pushes the function.
///
/// # Safety
/// In a C function, with some free slots. May raise.
pub unsafe fn push(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { push_closure(l, call) };
}

/// `leash.call(limits, f, ...)`
pub unsafe extern "C-unwind" fn call(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, with the stack it is promised. Nothing here owns anything where Lua runs or may raise.
    unsafe {
        let top = sys::lua_gettop(l);
        if top < 2 {
            miss(l);
        }
        let mut room = limits::Room::uninit();
        let mut limits = limits::check(l, &mut room, 1);
        let guest = guest(l);
        let mut kept = Kept::default();
        let warning;
        if limits.warns() {
            match warning::for_call(l, guest, *limits) {
                Ok(with) => warning = with,
                Err(why) => limits::refuse(l, 1, why),
            }
            limits = &warning;
            kept.values = 1;
        }
        let hook = guest.hook(l);
        if hook.0.is_some() {
            let values = push_hook(l);
            for _ in 0..values {
                sys::lua_insert(l, 1);
            }
            kept.values += values;
            kept.hook = values != 0;
        }
        let nargs = top - 2;
        let suspends = guest.may_suspend(l);
        let begun = guest.begin(l, limits, suspends, false, kept.note(), hook);
        // Only now: prepared limits stay as long as they are on the stack.
        sys::copy(l, sys::lua_upvalueindex(TRUE), kept.values + 1);
        match begun {
            Err(message) => {
                sys::lua_pushboolean(l, 0);
                sys::lua_pushstring(l, message.as_ptr());
                2
            }
            Ok(serial) if suspends => sys::pcall_across_yields::<End>(l, nargs, serial),
            Ok(serial) => {
                let status = sys::lua_pcall(l, nargs, sys::LUA_MULTRET, 0);
                finish(l, guest, status, serial)
            }
        }
    }
}

/// An argument is missing: says so. **longjmp**: does not return.
///
/// # Safety
/// In [`call`].
#[cold]
unsafe fn miss(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        if cfg!(feature = "luajit") && sys::lua_type(l, 1) == sys::LUA_TNIL {
            sys::lua_settop(l, 0); // the glue cannot tell nil from nothing
        }
        let mut room = limits::Room::uninit();
        limits::check(l, &mut room, 1);
        sys::luaL_checkany(l, 2);
    }
}

/// What is kept below everything else.
#[derive(Default)]
struct Kept {
    values: c_int,
    /// The user's hook is among them, and lowest.
    hook: bool,
}

impl Kept {
    fn note(&self) -> c_int {
        self.values * 2 + c_int::from(self.hook)
    }

    fn from_note(note: c_int) -> Kept {
        Kept {
            values: note / 2,
            hook: note % 2 != 0,
        }
    }
}

/// What comes after the protected call.
struct End;

impl Continuation for End {
    unsafe fn go_on(l: *mut lua_State, status: c_int, serial: c_int) -> c_int {
        // SAFETY: in `call`, or where it was.
        unsafe { finish(l, entered(l), status, serial) }
    }
}

/// # Safety
/// In [`call`], or in its continuation.
unsafe fn finish(l: *mut lua_State, guest: Guest, status: c_int, serial: c_int) -> c_int {
    // SAFETY: by the caller; what the engine returns is consumed by `stopped`.
    unsafe {
        let mut ended = guest.end(l, serial, status);
        let kept = Kept::from_note(ended.note);
        if let Some(stop) = ended.stop.take() {
            sys::lua_settop(l, kept.values + 1);
            stopped(l, guest, stop, &ended, kept.hook.then_some(1));
        } else if status == sys::LUA_OK {
            return sys::lua_gettop(l) - kept.values;
        }
        sys::lua_pushboolean(l, 0);
        sys::lua_replace(l, kept.values + 1);
    }
    2
}
