//! `table.remove`.
//!
//! Without a position it removes the last element. With one it moves down what is behind the place.

use super::dialect;
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
use super::{BETWEEN, blocks};
use super::{original, pass};
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// `table.remove`
pub unsafe extern "C-unwind" fn remove(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        if sys::lua_isnoneornil(l, 2) != 0 {
            return original(l, |stock| stock.tables.remove);
        }
        let length = dialect::length(l, dialect::needs::ALL);
        let mut position = dialect::position(l, 2);
        if !dialect::may_remove(position, length) {
            return nowhere(l);
        }
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        if length > position && length.wrapping_sub(position) >= BETWEEN && blocks::is_raw(l, 1) {
            sys::lua_settop(l, blocks::ARGUMENTS);
            sys::lua_pushnil(l);
            sys::lua_replace(l, blocks::ARGUMENTS);
            dialect::get(l, 1, position);
            blocks::relocate(l, position + 1, length, position, true);
            sys::lua_pushnil(l);
            dialect::set(l, 1, length);
            return 1;
        }
        dialect::get(l, 1, position);
        while position < length {
            dialect::get(l, 1, position + 1);
            dialect::set(l, 1, position);
            position += 1;
            pass(l, position);
        }
        sys::lua_pushnil(l);
        dialect::set(l, 1, position);
    }
    1
}

/// What the original says of a place where nothing is. It differs in details, and does not depend on the table; to ask the length of that twice would show.
#[cold]
unsafe fn nowhere(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller, `remove`: there are two arguments at least.
    unsafe {
        sys::lua_createtable(l, 0, 0);
        sys::lua_replace(l, 1);
        sys::lua_pushinteger(l, 5);
        sys::lua_replace(l, 2);
        original(l, |stock| stock.tables.remove)
    }
}
