//! Rust values owned by Lua: a userdata that holds a pointer to a box, and a metatable that frees it.
//!
//! The pointer is null before the box is made and after `__gc`, so an error on the way leaks nothing, and a script that
//! calls `__gc` by hand gets an error from the next method instead of freed memory.

use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

use mlua_sys::*;

use crate::{Function, push_functions};

/// A type whose values can be owned by Lua.
pub trait Object: Default {
    /// The name of its metatable in the registry, and in messages.
    const NAME: &'static CStr;
    /// What a script can call on it.
    const METHODS: &'static [Function];
}

/// Pushes a userdata with a new `T`, and returns where it is: valid until the userdata is collected.
///
/// # Safety
/// `l` is a live state on its own thread, with four free stack slots. May raise a memory error.
pub unsafe fn push_new<T: Object>(l: *mut lua_State) -> *mut T {
    // SAFETY: by the caller. The block is as large as a pointer and aligned for any. Nothing raises once the box exists.
    unsafe {
        let slot = lua_newuserdata(l, size_of::<*mut T>()).cast::<*mut T>();
        slot.write(null_mut());
        if luaL_newmetatable(l, T::NAME.as_ptr()) != 0 {
            push_functions(l, T::METHODS);
            lua_setfield(l, -2, c"__index".as_ptr());
            lua_pushcfunction(l, collect::<T>);
            lua_setfield(l, -2, c"__gc".as_ptr());
        }
        lua_setmetatable(l, -2);
        let value = Box::into_raw(Box::<T>::default());
        slot.write(value);
        value
    }
}

/// The `T` in the argument `arg`; anything else there is an error.
///
/// # Safety
/// `l` is a live state on its own thread. Raises: nothing with a destructor may be alive in the caller.
pub unsafe fn check<T: Object>(l: *mut lua_State, arg: c_int) -> *mut T {
    // SAFETY: by the caller; only `push_new::<T>` sets this metatable.
    unsafe {
        let value = luaL_checkudata(l, arg, T::NAME.as_ptr())
            .cast::<*mut T>()
            .read();
        if value.is_null() {
            luaL_argerror(l, arg, c"object is closed".as_ptr());
        }
        value
    }
}

/// `__gc`.
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn collect<T: Object>(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; the pointer came from `Box::into_raw` and is forgotten before the box is freed.
    unsafe {
        let slot = luaL_checkudata(l, 1, T::NAME.as_ptr()).cast::<*mut T>();
        let value = slot.replace(null_mut());
        if !value.is_null() {
            drop(Box::from_raw(value));
        }
    }
    0
}
