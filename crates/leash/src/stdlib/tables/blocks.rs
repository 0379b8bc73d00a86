//! Moving many elements, of 5.3 and later: by the original `move`, a block at a time.
//!
//! What the original library does with a table takes a quarter less time than the same through the C API from outside. Where no metamethod can see the
//! difference, `insert`, `remove` and `move` all come down to blocks that the original moves.
//!
//! In 5.3 a nil that is stored under a new key has the table rebuilt, so blocks are small there.

use super::{dialect::Index, original, steps};
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// Elements in a block.
pub const BLOCK: Index = if cfg!(feature = "lua53") { 128 } else { 512 };

/// The arguments of the original are at the bottom of the stack: so many.
pub const ARGUMENTS: c_int = 5;

/// Whether the value is a table without a metatable.
///
/// # Safety
/// In a C function that Lua has called, with a free slot.
#[inline(always)]
pub unsafe fn is_raw(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_type(l, index) != sys::LUA_TTABLE {
            return false;
        }
        let has = sys::lua_getmetatable(l, index) != 0;
        if has {
            sys::lua_settop(l, -2);
        }
        !has
    }
}

/// Moves the elements `from..=end` to where `to` and the following are, from the first on or from the last. Source and target are the arguments 1 and 5 (nil: the same);
/// 2 to 4 are overwritten. What is above stays.
///
/// # Safety
/// In a C function that Lua has called, with free slots and at least [`ARGUMENTS`] values. The ranges do not overflow. May raise.
pub unsafe fn relocate(l: *mut lua_State, from: Index, end: Index, to: Index, first_to_last: bool) {
    let count = end - from + 1;
    let mut done = 0;
    // SAFETY: by the caller.
    unsafe {
        while done < count {
            let size = BLOCK.min(count - done);
            let at = if first_to_last {
                done
            } else {
                count - done - size
            };
            for (argument, value) in [(2, from + at), (3, from + at + (size - 1)), (4, to + at)] {
                sys::lua_pushinteger(l, value);
                sys::lua_replace(l, argument);
            }
            original(l, |stock| stock.tables.relocate);
            sys::lua_settop(l, -2);
            done += size;
            steps::look_up(l);
        }
    }
}
