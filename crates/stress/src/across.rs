//! `across(ms, f, ...)`: a call with limits that may be yielded across, as `leash.call` is.
//!
//! On PUC Lua it is a C function and its continuation, on LuaJIT Lua code between two C functions, but for the main state. What it returns: true and the results, or false.
//! **longjmp**: all of this may raise, and nothing here owns anything then.

use leash::sys::{self, Continuation, lua_State};
use leash::{Guest, Limits};
use std::ffi::c_int;
use std::time::Duration;

/// Makes the function.
///
/// # Safety
/// `l` is a guarded state on this thread, with some free slots.
pub unsafe fn plant(l: *mut lua_State, guest: Guest) {
    // SAFETY: by the caller.
    unsafe {
        if cfg!(feature = "luajit") {
            sys::lua_pushcfunction(l, begin);
            sys::lua_pushcfunction(l, finish);
            sys::lua_pushcfunction(l, refuse);
            sys::lua_pushcfunction(l, call);
            assert!(guest.glue(l), "pcall is LuaJIT's own");
        } else {
            sys::lua_pushcfunction(l, call);
        }
        sys::lua_setglobal(l, c"across".as_ptr());
    }
}

/// The number of a new call, and whether it may be suspended. Raises if there can be none.
unsafe fn enter(l: *mut lua_State, glued: bool) -> (c_int, bool) {
    // SAFETY: in a C function of a guarded state.
    unsafe {
        let ms = sys::lua_tonumber(l, 1).max(0.0);
        let limits = Limits::new().timeout(Duration::from_secs_f64(ms / 1000.0));
        let Some(guest) = Guest::of(l) else {
            return (0, false);
        };
        let suspends = guest.may_suspend(l);
        let serial = match guest.begin(l, &limits, suspends, glued, 0, guest.hook(l)) {
            Ok(serial) => serial,
            Err(message) => sys::luaL_error(l, message.as_ptr()),
        };
        (serial, suspends)
    }
}

/// Whether the call has ended by itself. Goes on with a stop that is not its own, and with an error.
unsafe fn leave(l: *mut lua_State, serial: c_int, status: c_int) -> bool {
    // SAFETY: in a C function of a guarded state. The report is dropped before anything is raised.
    unsafe {
        let Some(guest) = Guest::of(l) else {
            return false;
        };
        let stop = guest.end(l, serial, status).stop;
        let enclosing = stop.as_ref().map(|stop| stop.enclosing);
        drop(stop);
        if enclosing == Some(true) {
            guest.unwind(l);
        }
        if enclosing.is_none() && status != sys::LUA_OK {
            sys::lua_error(l);
        }
        enclosing.is_none()
    }
}

/// `across(ms, f, ...)`
unsafe extern "C-unwind" fn call(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua, in a guarded state.
    unsafe {
        let (serial, suspends) = enter(l, false);
        let nargs = sys::lua_gettop(l) - 2;
        if suspends {
            return sys::pcall_across_yields::<End>(l, nargs, serial);
        }
        let status = sys::lua_pcall(l, nargs, sys::LUA_MULTRET, 0);
        End::go_on(l, status, serial)
    }
}

struct End;

impl Continuation for End {
    unsafe fn go_on(l: *mut lua_State, status: c_int, serial: c_int) -> c_int {
        // SAFETY: in `call`, or where it was; the first slot held the milliseconds.
        unsafe {
            let fine = leave(l, serial, status);
            if !fine {
                sys::lua_settop(l, 1);
            }
            sys::lua_pushboolean(l, fine.into());
            sys::lua_replace(l, 1);
            sys::lua_gettop(l)
        }
    }
}

unsafe extern "C-unwind" fn begin(l: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe {
        let (serial, _) = enter(l, true);
        sys::lua_pushinteger(l, serial as _);
    }
    1
}

/// `finish(call, nil, nil, nil, nil, pcall(...))`
unsafe extern "C-unwind" fn finish(l: *mut lua_State) -> c_int {
    const OK: c_int = 6;
    // SAFETY: as `call`.
    unsafe {
        let failed = sys::lua_toboolean(l, OK) == 0;
        let status = if failed { sys::LUA_ERRRUN } else { sys::LUA_OK };
        let serial = sys::lua_tointeger(l, 1) as c_int;
        if !leave(l, serial, status) {
            sys::lua_settop(l, OK);
            sys::lua_pushboolean(l, 0);
            sys::lua_replace(l, OK);
        }
        sys::lua_gettop(l) - OK + 1
    }
}

unsafe extern "C-unwind" fn refuse(l: *mut lua_State) -> c_int {
    // SAFETY: as `call`.
    unsafe { sys::luaL_error(l, c"no such call".as_ptr()) }
}
