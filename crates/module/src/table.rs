//! Filling the tables that are the modules.

use leash::sys::{self, lua_CFunction, lua_State};
use std::ffi::CStr;

/// `table[name] = function` for each; the table is on top of the stack.
///
/// # Safety
/// In a C function, with two free slots. May raise.
pub unsafe fn set_functions(l: *mut lua_State, functions: &[(&CStr, lua_CFunction)]) {
    for &(name, function) in functions {
        // SAFETY: by the caller.
        unsafe {
            sys::lua_pushcfunction(l, function);
            sys::lua_setfield(l, -2, name.as_ptr());
        }
    }
}

/// `table[name] = value`; the table is on top of the stack.
///
/// # Safety
/// As [`set_functions`].
pub unsafe fn set_string(l: *mut lua_State, name: &CStr, value: &CStr) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushstring(l, value.as_ptr());
        sys::lua_setfield(l, -2, name.as_ptr());
    }
}

/// `table[name] = value`; the table is on top of the stack.
///
/// # Safety
/// As [`set_functions`].
pub unsafe fn set_number(l: *mut lua_State, name: &CStr, value: f64) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushnumber(l, value);
        sys::lua_setfield(l, -2, name.as_ptr());
    }
}
