//! What differs between the engines as far as the modules are concerned. The rest is in [`leash::sys`].

use leash::sys::{self, lua_State};
use std::ffi::CStr;

/// Whether `mtint` interrupts coroutines by themselves. The original does not on 5.1 and LuaJIT, and documents it; the engine could
/// on 5.1.
pub const MTINT_COROUTINES: bool = !cfg!(any(feature = "lua51", feature = "luajit"));

/// From 5.4 on `lua_resume` looks by itself whether a coroutine can be resumed, and says why not as `coroutine.resume` does. Before, a
/// coroutine that has ended crashes it.
pub const RESUME_CHECKS: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// Whether a table with weak keys keeps a value that refers to its own key (they are ephemerons from 5.2 on).
pub const KEEPS_CYCLES: bool = cfg!(any(feature = "lua51", feature = "luajit"));

/// What `coroutine.resume` says of the running coroutine.
pub const RUNNING: &CStr = if cfg!(any(feature = "lua51", feature = "luajit")) {
    c"cannot resume running coroutine"
} else {
    c"cannot resume non-suspended coroutine"
};

/// What it says of one that waits for another, which it has resumed.
pub const NORMAL: &CStr = if cfg!(feature = "lua51") {
    c"cannot resume normal coroutine"
} else {
    RUNNING
};

/// Pushes a whole number below 2^53: as an integer where Lua has integers (`lua_Integer` may have 32 bits elsewhere).
///
/// # Safety
/// One free slot.
pub unsafe fn push_whole(l: *mut lua_State, n: u64) {
    const INTEGERS: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));
    // SAFETY: by the caller. Exact either way.
    unsafe {
        if INTEGERS {
            sys::lua_pushinteger(l, n as sys::lua_Integer);
        } else {
            sys::lua_pushnumber(l, n as f64);
        }
    }
}
