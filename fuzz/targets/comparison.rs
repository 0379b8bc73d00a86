//! What targets have in common that compare guarded functions with the originals: a state, and a Lua function in it that compares.

use leash::{stdlib, sys};
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr;
use sys::lua_State;

thread_local! {
    static STATE: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
}

/// A state with the comparison at index 1. `copies` returns two tables with the originals, the second of which is guarded; `compare` takes both and returns the function. At least so many are `replaced`.
///
/// # Safety
/// It stays on this thread, where all calls have the same arguments.
pub unsafe fn state(compare: &CStr, copies: &CStr, replaced: usize) -> *mut lua_State {
    if STATE.get().is_null() {
        // SAFETY: a state of our own.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            assert_eq!(sys::luaL_loadstring(l, compare.as_ptr()), 0);
            assert_eq!(sys::luaL_loadstring(l, copies.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 2, 0), 0);
            assert!(stdlib::guard(l, -1) >= replaced);
            assert_eq!(sys::lua_pcall(l, 2, 1, 0), 0);
            STATE.set(l);
        }
    }
    STATE.get()
}

/// Calls the comparison with the arguments on top of the stack, in front of which it is. What differs, if anything does.
///
/// # Safety
/// `l` is that state.
pub unsafe fn difference(l: *mut lua_State, arguments: c_int) -> Option<String> {
    // SAFETY: by the caller; the message is copied, and the stack is as before.
    unsafe {
        (sys::lua_pcall(l, arguments, 0, 0) != 0).then(|| {
            let message = CStr::from_ptr(sys::lua_tostring(l, -1))
                .to_string_lossy()
                .into_owned();
            sys::lua_settop(l, -2);
            message
        })
    }
}
