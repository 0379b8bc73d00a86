//! Compiling a chunk piece by piece, and its environment: `lua_load` has a mode from 5.2 on, and on LuaJIT by another name.

use super::*;
use std::ffi::{c_char, c_int, c_void};

/// What hands over a chunk, piece by piece: `lua_Reader`.
pub type Reader =
    unsafe extern "C-unwind" fn(*mut lua_State, *mut c_void, *mut usize) -> *const c_char;

/// `lua_load`. A null mode allows text and bytecode. 5.1 knows no mode: it is null there.
///
/// # Safety
/// As `lua_load`.
pub unsafe fn load(
    l: *mut lua_State,
    reader: Reader,
    ud: *mut c_void,
    name: *const c_char,
    mode: *const c_char,
) -> c_int {
    #[cfg(feature = "lua51")]
    // SAFETY: by the caller.
    unsafe {
        unsafe extern "C-unwind" {
            fn lua_load(
                l: *mut lua_State,
                reader: Reader,
                ud: *mut c_void,
                name: *const c_char,
            ) -> c_int;
        }
        debug_assert!(mode.is_null());
        lua_load(l, reader, ud, name)
    }
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller. It is in `lua.h` of LuaJIT 2.1.
    unsafe {
        unsafe extern "C-unwind" {
            fn lua_loadx(
                l: *mut lua_State,
                reader: Reader,
                ud: *mut c_void,
                name: *const c_char,
                mode: *const c_char,
            ) -> c_int;
        }
        lua_loadx(l, reader, ud, name, mode)
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller.
    unsafe {
        lua_load(l, reader, ud, name, mode)
    }
}

/// Gives the chunk on top of the stack the environment at `index`, if it can have one: `_ENV` from 5.2 on, which is any value; on LuaJIT only a table. 5.1's `load` takes none.
///
/// # Safety
/// In a C function, with a free slot.
pub unsafe fn set_environment(l: *mut lua_State, index: c_int) {
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller.
    unsafe {
        if lua_type(l, index) == LUA_TTABLE && lua_type(l, -1) == LUA_TFUNCTION {
            lua_pushvalue(l, index);
            lua_setfenv(l, -2);
        }
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller.
    unsafe {
        lua_pushvalue(l, index);
        if lua_setupvalue(l, -2, 1).is_null() {
            lua_settop(l, -2);
        }
    }
    #[cfg(feature = "lua51")]
    let _ = (l, index);
}
