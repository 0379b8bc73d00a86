//! `leash.call` on LuaJIT: in a coroutine, Lua code between two C functions, with LuaJIT's own `pcall`, which can be yielded across. The code, and what it asks of the
//! engine, is in `leash`'s `glue.rs`; here are the functions that it calls. In the main state, which cannot yield, that is the [C function](across) of the other engines.
//!
//! If the host has replaced `pcall` by a function of its own before this module was loaded, there is no way to yield: then `leash.call` is a C function.

use super::{across, entered, push_closure, push_hook, stopped};
use crate::attach::{attached, guest};
use crate::limits;
use crate::watch::warning;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Pushes the function.
///
/// # Safety
/// In a C function, with some free slots. May raise.
pub unsafe fn push(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        if let Some(guest) = attached(l) {
            push_closure(l, begin);
            push_closure(l, finish);
            push_closure(l, refuse);
            push_closure(l, across::call);
            if guest.glue(l) {
                return;
            }
        }
        across::push(l);
    }
}

/// `begin(limits, f)`: the number of the call, the user's hook or three times nil, and the table for `on_warn` if there is one; or nil and a message; or nothing, if
/// the arguments are wrong. (Arguments of `f` are not among its own: each copy of them takes room, and LuaJIT has room for 65,500 values.)
unsafe extern "C-unwind" fn begin(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, with the stack it is promised.
    unsafe {
        let mut room = limits::Room::uninit();
        let Some(mut limits) = limits::get(l, &mut room, 1) else {
            return 0;
        };
        let nothing = sys::lua_type(l, 2) == sys::LUA_TNIL;
        let Some(guest) = attached(l).filter(|_| !nothing) else {
            return 0;
        };
        // The glue should not fail for want of room once the call has begun. (If it does, see the engine's `glue.rs`.)
        sys::luaL_checkstack(l, 40, std::ptr::null());
        let users = guest.hook(l);
        let (mut hook, mut kept) = (0, 0);
        let warns = limits.warns();
        let warning;
        if warns || users.0.is_some() {
            if warns {
                match warning::for_call(l, guest, *limits) {
                    Ok(with) => warning = with, // its table is below the arguments now
                    Err(_) => return 0,
                }
                limits = &warning;
            }
            let top = sys::lua_gettop(l);
            if users.0.is_some() {
                hook = push_hook(l);
            }
            if warns {
                sys::lua_settop(l, top + 3);
                sys::lua_pushvalue(l, 1);
            }
            kept = sys::lua_gettop(l) - top;
        }
        match guest.begin(l, limits, guest.may_suspend(l), true, hook, users) {
            Ok(serial) => {
                sys::lua_pushinteger(l, serial as _);
                if kept != 0 {
                    sys::lua_insert(l, -1 - kept);
                }
                1 + kept
            }
            Err(message) => {
                sys::lua_pushnil(l);
                sys::lua_pushstring(l, message.as_ptr());
                2
            }
        }
    }
}

/// `finish(call, f, m, c, w, pcall(...))`: what `leash.call` returns.
unsafe extern "C-unwind" fn finish(l: *mut lua_State) -> c_int {
    const HOOK: c_int = 2;
    const OK: c_int = 6;
    // SAFETY: as `begin`. What the engine returns is consumed by `stopped`.
    unsafe {
        let guest = entered(l);
        let serial = sys::lua_tonumber(l, 1) as c_int; // (as an integer it would be looked at twice)
        let status = if sys::lua_toboolean(l, OK) != 0 {
            sys::LUA_OK
        } else {
            sys::LUA_ERRRUN
        };
        let mut ended = guest.end(l, serial, status);
        let Some(stop) = ended.stop.take() else {
            return sys::lua_gettop(l) - OK + 1;
        };
        sys::lua_settop(l, OK);
        stopped(l, guest, stop, &ended, (ended.note != 0).then_some(HOOK));
        sys::lua_pushboolean(l, 0);
        sys::lua_replace(l, OK);
    }
    2
}

/// `refuse(message, limits, f, ...)`: false and the message, or the error that says what is wrong.
unsafe extern "C-unwind" fn refuse(l: *mut lua_State) -> c_int {
    // SAFETY: as `begin`.
    unsafe {
        if sys::lua_type(l, 1) == sys::LUA_TSTRING {
            sys::lua_settop(l, 1);
            sys::lua_pushboolean(l, 0);
            sys::lua_insert(l, 1);
            return 2;
        }
        sys::lua_remove(l, 1);
        if sys::lua_gettop(l) == 1 && sys::lua_type(l, 1) == sys::LUA_TNIL {
            sys::lua_settop(l, 0); // the glue cannot tell nil from nothing
        }
        let mut room = limits::Room::uninit();
        let limits = limits::check(l, &mut room, 1);
        sys::luaL_checkany(l, 2);
        guest(l);
        if limits.warns()
            && let Err(why) = limits::push_on_warn(l, 1)
        {
            limits::refuse(l, 1, why);
        }
        sys::lua_pushboolean(l, 0);
        sys::lua_pushstring(l, c"attempt to call a nil value".as_ptr());
        2
    }
}
