//! The module `mtint`: threads and coroutines that any OS thread can interrupt. `docs/mtint.md` is its reference.
//!
//! A replacement for the module of that name by Oliver Schmidt, whose documentation says what each function does. The original
//! calls `lua_sethook` on a state from whichever thread interrupts it, under a lock that the state itself does not take; here the
//! [engine](leash) carries the request to the thread that runs the state, and only that thread touches it.
//!
//! An id is known while its state exists, and beyond that while an [`interruptible`] object for it lives ([`held`]). Interrupting
//! a known id says whether the state exists; interrupting an unknown one is an error. The documentation of the original has both
//! examples.
//!
//! On 5.1 and LuaJIT the original supports main states only, and says so by the error `not_supported`. So does this, although the
//! engine could give ids to the coroutines of 5.1: programs depend on what is documented.

mod errors;
mod held;
mod interruptible;

use crate::args;
use crate::attach::attached;
use crate::compat::{self, push_whole};
use crate::handlers;
use crate::leash_module::VERSION;
use crate::table::{set_functions, set_string};
use crate::text::Text;
use leash::Guest;
use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// Makes the table of the module.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe fn open(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        attached(l);
        handlers::for_mtint(l);
        interruptible::make_class(l);
        sys::lua_createtable(l, 0, 7);
        set_functions(
            l,
            &[
                (c"id", id),
                (c"sethook", sethook),
                (c"interrupt", interrupt),
                (c"interruptible", interruptible::new),
            ],
        );
        errors::publish(l);
        sys::lua_setfield(l, -2, c"error".as_ptr());
        set_string(l, c"_VERSION", VERSION);
        sys::lua_pushfstring(
            l,
            c"mtint of %s, running with %s".as_ptr(),
            VERSION.as_ptr(),
            Text::of(leash::ENGINE).as_ptr(),
        );
        sys::lua_setfield(l, -2, c"_INFO".as_ptr());
    }
    1
}

/// The attached state, if `co` can be interrupted by itself. Raises `not_supported` if it cannot.
unsafe fn guest_for(l: *mut lua_State, co: *mut lua_State) -> Option<Guest> {
    // SAFETY: in a C function called by Lua.
    unsafe {
        let guest = attached(l).filter(|guest| compat::MTINT_COROUTINES || co == guest.main());
        if guest.is_none() {
            errors::raise(
                l,
                errors::NOT_SUPPORTED,
                Text::of(format_args!(
                    "on {} only main states can be interrupted, not coroutines",
                    leash::ENGINE
                )),
            );
        }
        guest
    }
}

/// `mtint.id([co])`
unsafe extern "C-unwind" fn id(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        let co = args::coroutine(l, 1);
        let Some(guest) = guest_for(l, co) else {
            return 0;
        };
        let Some(id) = guest.id(co) else {
            return errors::raise(l, errors::OUT_OF_MEMORY, Text::of("there are too many ids"));
        };
        push_whole(l, id);
    }
    1
}

/// `mtint.sethook([co,] func|nil)`
unsafe extern "C-unwind" fn sethook(l: *mut lua_State) -> c_int {
    // SAFETY: as `id`.
    unsafe {
        let (thread, handler) = handlers::arguments(l);
        let co = if thread == 1 {
            sys::lua_tothread(l, 1)
        } else {
            l
        };
        if let Some(guest) = guest_for(l, co) {
            handlers::set(l, guest, thread, handler);
        }
    }
    0
}

/// `mtint.interrupt(id | interruptible [, flag])`
unsafe extern "C-unwind" fn interrupt(l: *mut lua_State) -> c_int {
    // SAFETY: as `id`.
    unsafe {
        if sys::lua_type(l, 1) == sys::LUA_TUSERDATA {
            return interruptible::interrupt(l);
        }
        if sys::lua_isnoneornil(l, 1) != 0 {
            return sys::luaL_argerror(l, 1, c"interruptible object or id expected".as_ptr());
        }
        let id = args::id(l, 1);
        let exists = leash::interrupt(id, handlers::how(l, 2));
        if !exists && !held::contains(id) {
            return errors::unknown(l, id);
        }
        sys::lua_pushboolean(l, exists.into());
    }
    1
}
