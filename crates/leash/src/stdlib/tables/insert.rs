//! `table.insert`.
//!
//! Two arguments append. Three move up what is behind the place.

use super::dialect::{self, Index};
use super::{original, pass};
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// LuaJIT moves so many elements in 0.1 ms; at worst, nothing in a table that is not there, in some 30 ms. (It moves one in a nanosecond; by its API that takes five.)
#[cfg(feature = "luajit")]
const FEW: i64 = 1 << 16;

/// `table.insert`
pub unsafe extern "C-unwind" fn insert(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        if sys::lua_gettop(l) != 3 || is_short(l) {
            return original(l, |stock| stock.tables.insert);
        }
        let mut end = dialect::length(l, dialect::needs::ALL).wrapping_add(1);
        let position = dialect::position(l, 2);
        if dialect::anywhere() {
            end = end.max(position);
        } else {
            #[cfg(not(any(feature = "lua51", feature = "luajit")))]
            if !dialect::may_insert(position, end) {
                return sys::luaL_argerror(l, 2, c"position out of bounds".as_ptr());
            }
        }
        let mut i: Index = end;
        while i > position {
            dialect::get(l, 1, i - 1);
            dialect::set(l, 1, i);
            i -= 1;
            pass(l, i);
        }
        dialect::set(l, 1, position);
    }
    0
}

/// Whether the original does it at once, or refuses to.
#[cfg(feature = "luajit")]
unsafe fn is_short(l: *mut lua_State) -> bool {
    // SAFETY: by the caller. The length of a table is asked without metamethods, as the original does.
    unsafe {
        if sys::lua_type(l, 1) != sys::LUA_TTABLE || sys::lua_isnumber(l, 2) == 0 {
            return true;
        }
        let position = i64::from(dialect::position(l, 2));
        i64::from(dialect::length_unchecked(l)) - position < FEW
    }
}

#[cfg(not(feature = "luajit"))]
#[inline(always)]
unsafe fn is_short(_: *mut lua_State) -> bool {
    false
}
