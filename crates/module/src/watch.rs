//! `leash.watch`, `leash.create`, `leash.resume`, `leash.wrap`: coroutines that must yield in time.
//!
//! The engine does it all but three things, which are here: what a script may ask for (a watch is not changed from inside what it watches), the
//! functions that warn ([`warning`]), and the error that ends a coroutine ([`doom`]).
//!
//! `leash.resume` is the function of `corowatch`: it resumes under whichever watch a coroutine has.

pub mod doom;
pub mod warning;

use crate::attach::guest;
use crate::corowatch::resume;
use crate::{handlers, limits};
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Prepares the state.
///
/// # Safety
/// In a C function, with four free slots. May raise.
pub unsafe fn open(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        warning::open(l);
        doom::open(l);
    }
}

/// `leash.watch([co,] limits | nil)`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn watch(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; nothing here owns anything.
    unsafe {
        let (thread, index) = handlers::split(l);
        let guest = guest(l);
        let co = match thread {
            0 => l,
            _ => sys::lua_tothread(l, thread),
        };
        let removes = sys::lua_type(l, index) == sys::LUA_TNIL;
        let wanted = match removes {
            true => limits::Watching::default(),
            false => limits::check_watching(l, index),
        };
        guest.on_ward(warning::warn, doom::push);
        let known = guest.ward_of(co).is_some();
        if known && guest.inside(l).is_some() {
            let runs = guest.is_running(co);
            if removes || runs || !is_stricter(guest, co, &wanted) {
                return sys::luaL_error(
                    l,
                    c"a watch can be removed or extended only from outside of what is watched"
                        .as_ptr(),
                );
            }
        }
        if !known && guest.watch_of(co).is_some() {
            return sys::luaL_error(l, c"corowatch is watching this coroutine".as_ptr());
        }
        if !guest.is_doomed(co) {
            warning::forget(l, guest, thread);
            if removes {
                guest.unward(co);
            } else {
                let mark = warning::keep(l, guest, thread, wanted.on_warn);
                if !guest.ward(co, wanted.timeout, wanted.warn, mark) {
                    return sys::luaL_error(l, c"not enough memory for a watch".as_ptr());
                }
            }
        }
        if thread == 0 {
            return 0;
        }
        sys::lua_pushvalue(l, thread);
    }
    1
}

/// Whether it ends no later than the watch that `co` has.
unsafe fn is_stricter(guest: leash::Guest, co: *mut lua_State, wanted: &limits::Watching) -> bool {
    // SAFETY: live, of this state.
    let now = unsafe { guest.ward_of(co) };
    now.is_some_and(|now| match (now.kill, wanted.timeout) {
        (None, _) => now.warn.is_none(),
        (Some(old), Some(new)) => new <= old && wanted.warn.is_none(),
        (Some(_), None) => false,
    })
}

/// Has the coroutine on top of the stack inherit the watch that `l` runs under.
///
/// # Safety
/// In a C function, with six free slots. May raise.
pub unsafe fn inherit(l: *mut lua_State, guest: leash::Guest) {
    // SAFETY: by the caller.
    unsafe {
        let child = sys::lua_tothread(l, -1);
        let own = guest.ward_of(l).map(|_| l);
        let Some(parent) = own.or_else(|| guest.inside(l)) else {
            return;
        };
        if let Some(watch) = guest.ward_of(parent) {
            warning::share(l, watch.mark);
            if !guest.ward(child, watch.kill, watch.warn, watch.mark) {
                sys::luaL_error(l, c"not enough memory for a watch".as_ptr());
            }
        }
    }
}

/// Pushes a new coroutine that will run the function at index 1.
unsafe fn push_new(l: *mut lua_State) {
    // SAFETY: in a C function called by Lua.
    unsafe {
        let guest = guest(l);
        sys::luaL_checktype(l, 1, sys::LUA_TFUNCTION);
        let co = sys::lua_newthread(l);
        sys::lua_pushvalue(l, 1);
        sys::lua_xmove(l, co, 1);
        inherit(l, guest);
    }
}

/// `leash.create(f)`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn create(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe { push_new(l) };
    1
}

/// `leash.resume(co, ...)`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        if leash::Guest::of(l).is_none() {
            guest(l);
        }
        resume::resume(l)
    }
}

/// `leash.wrap(f)`
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn wrap(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        push_new(l);
        sys::lua_pushcclosure(l, wrapped, 1);
    }
    1
}

/// What `leash.wrap` returns. Its coroutine is the upvalue.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe extern "C-unwind" fn wrapped(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        let n = resume::wrapped(l);
        if sys::lua_toboolean(l, -n) != 0 {
            return n - 1;
        }
        // The error, on top; as `coroutine.wrap` raises it.
        let co = sys::lua_tothread(l, sys::lua_upvalueindex(1));
        if !guest(l).is_doomed(co) && sys::lua_status(co) > sys::LUA_YIELD {
            sys::close_after_error(l, co);
        }
        if sys::lua_type(l, -1) == sys::LUA_TSTRING {
            sys::luaL_where(l, 1);
            sys::lua_insert(l, -2);
            sys::lua_concat(l, 2);
        }
        sys::lua_error(l)
    }
}
