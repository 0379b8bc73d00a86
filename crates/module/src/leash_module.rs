//! The module `leash`: its table, and what is too small for a file of its own.

use crate::attach::{attached, guest};
use crate::table::{set_functions, set_string};
use crate::text::Text;
use crate::{call, guard, handlers, ids, prepared, stop, watch};
use leash::Jit;
use leash::sys::{self, lua_State};
use std::ffi::{CStr, c_int};

/// What the modules call themselves.
pub const VERSION: &CStr = match CStr::from_bytes_with_nul(
    concat!("leash ", env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
) {
    Ok(version) => version,
    Err(_) => panic!("a version has no zero in it"),
};

/// Makes the table of the module.
///
/// # Safety
/// Called by Lua, as a C function.
pub unsafe fn open(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        attached(l);
        stop::make_class(l);
        watch::open(l);
        prepared::open(l);
        sys::lua_createtable(l, 0, 17);
        call::push(l);
        sys::lua_setfield(l, -2, c"call".as_ptr());
        set_functions(
            l,
            &[
                (c"limits", prepared::limits),
                (c"reason", stop::reason),
                (c"id", ids::id),
                (c"state_id", ids::state_id),
                (c"interrupt", ids::interrupt),
                (c"kill", ids::kill),
                (c"traceback", ids::traceback),
                (c"watch", watch::watch),
                (c"create", watch::create),
                (c"resume", watch::resume),
                (c"wrap", watch::wrap),
                (c"on_interrupt", on_interrupt),
                (c"guard_stdlib", guard::guard_stdlib),
                (c"info", info),
            ],
        );
        set_string(l, c"_VERSION", VERSION);
    }
    1
}

/// `leash.on_interrupt([co,] f | nil)`
unsafe extern "C-unwind" fn on_interrupt(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        let (thread, handler) = handlers::arguments(l);
        let guest = guest(l);
        handlers::push(l, guest, thread);
        handlers::set(l, guest, thread, handler);
    }
    1
}

/// `leash.info()`
unsafe extern "C-unwind" fn info(l: *mut lua_State) -> c_int {
    let hooks = if sys::HOOK_PER_COROUTINE {
        c"coroutine"
    } else {
        c"state"
    };
    let release = Text::of(leash::lua_release());
    let engine = Text::of(leash::ENGINE);
    // SAFETY: as above; both texts end with a zero and lie on the stack.
    unsafe {
        sys::lua_createtable(l, 0, 4);
        set_string(l, c"engine", CStr::from_ptr(engine.as_ptr()));
        set_string(l, c"version", CStr::from_ptr(release.as_ptr()));
        set_string(l, c"hooks", hooks);
        let jit = attached(l).map_or(Jit::default(), |guest| guest.jit());
        set_string(l, c"jit", jit.as_str());
    }
    1
}
