//! LuaJIT: functions of its libraries that are wrapped in attached states.
//!
//! What is replaced is the function in the library's table, where scripts find it; the wrapper has the plain one as its upvalue. All that is
//! here is called inside C functions that Lua calls, and may raise.

use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int};
use std::ptr;

/// Calls `f` in protected mode. False if it failed, for lack of memory.
///
/// # Safety
/// `l` is a live state on its own thread with free stack, not in a signal handler. `f` takes nothing.
pub unsafe fn run(l: *mut lua_State, f: sys::lua_CFunction) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let status = sys::protected(l, f, ptr::null_mut());
        if status != 0 {
            sys::lua_settop(l, -2);
        }
        status == 0
    }
}

/// Pushes a table of the registry. False if it is not there.
///
/// # Safety
/// In a C function, with two free slots.
pub unsafe fn registered(l: *mut lua_State, name: &CStr) -> bool {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        sys::lua_type(l, -1) == sys::LUA_TTABLE
    }
}

/// Pushes a library that is loaded, or something else and returns false.
///
/// # Safety
/// In a C function, with three free slots.
pub unsafe fn loaded(l: *mut lua_State, name: &CStr) -> bool {
    // SAFETY: by the caller.
    unsafe {
        if !registered(l, c"_LOADED") {
            return false;
        }
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, -2);
        sys::lua_type(l, -1) == sys::LUA_TTABLE
    }
}

/// Replaces a C function in the table on top of the stack by one that has it as its upvalue, unless that is done.
///
/// # Safety
/// In a C function, with three free slots and a table on top.
pub unsafe fn replace(l: *mut lua_State, name: &CStr, f: sys::lua_CFunction) {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_pushstring(l, name.as_ptr());
        sys::lua_rawget(l, -3);
        let now = sys::lua_tocfunction(l, -1).map(|f| f as usize);
        if now.is_some_and(|now| now != f as usize) {
            sys::lua_pushcclosure(l, f, 1);
            sys::lua_rawset(l, -3);
        } else {
            sys::lua_settop(l, -3);
        }
    }
}

/// Calls the function that is wrapped with all arguments; leaves its results, or raises its error after `failed`.
///
/// # Safety
/// In a function that [`replace`] has put into place.
pub unsafe fn original(l: *mut lua_State, results: c_int, failed: impl FnOnce()) {
    // SAFETY: the upvalue is a function, by `replace`.
    unsafe {
        let arguments = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        sys::lua_insert(l, 1);
        if sys::lua_pcall(l, arguments, results, 0) != 0 {
            failed();
            sys::lua_error(l);
        }
    }
}
