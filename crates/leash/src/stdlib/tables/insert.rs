//! `table.insert`.
//!
//! Two arguments append. Three move up what is behind the place.

use super::dialect::{self, Index};
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
use super::{BETWEEN, blocks};
use super::{original, pass};
#[cfg(feature = "luajit")]
use crate::stdlib::front;
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// LuaJIT moves so many elements in no time. But where most of them are nil, and there are a million others, each may take tens of milliseconds.
#[cfg(feature = "luajit")]
const FEW: i64 = 1 << 6;

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
        move_up(l, position, end);
        dialect::set(l, 1, position);
    }
    0
}

/// Moves up the elements from `position` on, the last one to `end`. The third argument is left on top.
#[inline(always)]
unsafe fn move_up(l: *mut lua_State, position: Index, end: Index) {
    // SAFETY: by the caller, `insert`.
    unsafe {
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        if end > position && end.wrapping_sub(position) >= BETWEEN && blocks::is_raw(l, 1) {
            sys::lua_settop(l, blocks::ARGUMENTS);
            sys::lua_pushvalue(l, 3);
            blocks::relocate(l, position, end - 1, position + 1, false);
            return;
        }
        #[cfg(feature = "luajit")]
        if position > 0
            && i64::from(end) - i64::from(position) >= FEW
            && has_no_metatable(l)
            && front::shift(
                l,
                (position + 1) as sys::lua_Integer,
                end as sys::lua_Integer,
            )
        {
            return;
        }
        let mut i = end;
        while i > position {
            dialect::get(l, 1, i - 1);
            dialect::set(l, 1, i);
            i -= 1;
            pass(l, i);
        }
    }
}

/// Whether the table is one that code in Lua can look at as the original does.
#[cfg(feature = "luajit")]
unsafe fn has_no_metatable(l: *mut lua_State) -> bool {
    // SAFETY: by the caller, `insert`.
    unsafe {
        let has_one = sys::lua_getmetatable(l, 1) != 0;
        if has_one {
            sys::lua_settop(l, -2);
        }
        !has_one
    }
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
        position > 0 && i64::from(dialect::length_unchecked(l)) - position < FEW
    }
}

#[cfg(not(feature = "luajit"))]
#[inline(always)]
unsafe fn is_short(_: *mut lua_State) -> bool {
    false
}
