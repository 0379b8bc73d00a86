//! `table.move`, of 5.3 and later. (`move` is a word of Rust's.)

use super::blocks;
use super::dialect::{self, needs};
use super::{BETWEEN, original, pass};
use crate::sys::{self, lua_Integer, lua_State};
use std::ffi::c_int;

/// `table.move`
pub unsafe extern "C-unwind" fn relocate(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        let (mut is_whole, mut end_is_whole) = (0, 0);
        let from = sys::lua_tointegerx(l, 2, &mut is_whole);
        let end = sys::lua_tointegerx(l, 3, &mut end_is_whole);
        if is_whole == 0 || end_is_whole == 0 || is_short(from, end) {
            return original(l, |stock| stock.tables.relocate);
        }
        let to = sys::luaL_checkinteger(l, 4);
        let target = if sys::lua_isnoneornil(l, 5) != 0 {
            1
        } else {
            5
        };
        dialect::check(l, 1, needs::READ);
        dialect::check(l, target, needs::WRITE);
        if !(from > 0 || end < lua_Integer::MAX + from) {
            return sys::luaL_argerror(l, 3, c"too many elements to move".as_ptr());
        }
        let count = end - from + 1;
        if to > lua_Integer::MAX - count + 1 {
            return sys::luaL_argerror(l, 4, c"destination wrap around".as_ptr());
        }
        let first_to_last = to > end
            || to <= from
            || target != 1 && sys::lua_compare(l, 1, target, sys::LUA_OPEQ) == 0;
        if blocks::is_raw(l, 1) && blocks::is_raw(l, target) {
            sys::lua_settop(l, blocks::ARGUMENTS);
            blocks::relocate(l, from, end, to, first_to_last);
            sys::lua_pushvalue(l, target);
            return 1;
        }
        let one = |i| {
            dialect::get(l, 1, from + i);
            dialect::set(l, target, to + i);
            pass(l, i);
        };
        if first_to_last {
            for i in 0..count {
                one(i);
            }
        } else {
            for i in (0..count).rev() {
                one(i);
            }
        }
        sys::lua_pushvalue(l, target);
    }
    1
}

/// Whether there is little to move, or nothing.
#[inline(always)]
fn is_short(from: lua_Integer, end: lua_Integer) -> bool {
    end < from || end.checked_sub(from).is_some_and(|n| n < BETWEEN)
}
