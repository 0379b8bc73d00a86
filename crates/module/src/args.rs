//! Arguments: ids, coroutines.

use leash::sys::{self, lua_State};
use std::ffi::c_int;

/// The first number that is no id: beyond it a Lua number is not exact.
const NO_ID: f64 = (1u64 << 53) as f64;

/// An id. A whole number that cannot be one becomes 0, which names nothing.
///
/// Read as a float on every engine: ids are below 2^53, and `lua_Integer` has 32 bits on a 32-bit Lua 5.1.
///
/// # Safety
/// In a C function that Lua has called. Raises `bad argument` unless there is a whole number at `index`.
pub unsafe fn id(l: *mut lua_State, index: c_int) -> u64 {
    // SAFETY: by the caller.
    let n = unsafe { sys::luaL_checknumber(l, index) };
    if n != n.floor() {
        // SAFETY: by the caller. (NaN too; infinity is whole.)
        unsafe {
            sys::luaL_argerror(l, index, c"number has no integer representation".as_ptr());
        }
    }
    if (1.0..NO_ID).contains(&n) {
        n as u64
    } else {
        0
    }
}

/// A coroutine, or the running one for none or nil.
///
/// # Safety
/// In a C function that Lua has called. Raises `bad argument` for anything else.
pub unsafe fn coroutine(l: *mut lua_State, index: c_int) -> *mut lua_State {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_isnoneornil(l, index) != 0 {
            return l;
        }
        sys::luaL_checktype(l, index, sys::LUA_TTHREAD);
        sys::lua_tothread(l, index)
    }
}
