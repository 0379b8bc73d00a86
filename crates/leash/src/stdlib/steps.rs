//! Looking up from long work.
//!
//! Work is counted in steps of a few nanoseconds; every [`INTERVAL`] of them the hook is looked at. What counts as a step is up to whoever
//! works; what matters is that none takes long and that every loop takes some.

use crate::hook;
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// Steps between two looks: some 20 us, up to 0.1 ms for slow ones.
pub const INTERVAL: isize = 8192;

/// Lets Lua call our hook, if it is set on `l`. That may raise, or run code of the script.
///
/// For C functions of a host, too, that work for long or wait: a system call that a stop has ended fails with `EINTR`, and by then the hook is set.
///
/// # Safety
/// In a C function that Lua has called, in `l`, with a free slot. Nothing that owns anything is alive.
#[cold]
#[inline(never)]
pub unsafe fn look_up(l: *mut lua_State) {
    // SAFETY: by the caller. A call is an event that the hook sees; what is called does nothing.
    unsafe {
        if hook::is_waiting(l) {
            sys::lua_pushcfunction(l, nothing);
            sys::lua_call(l, 0, 0);
        }
    }
}

unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}
