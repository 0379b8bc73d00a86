//! `table.concat`.
//!
//! Fields are copied into a `luaL_Buffer`, long ones in one piece: that is as long as a copy of memory takes.

use super::dialect::{self, Index, needs};
use super::{BETWEEN, original};
use crate::stdlib::{buffer, steps};
use crate::sys::{self, lua_State, luaL_Buffer};
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// As many bytes as it takes time to fetch another field, or more.
const BYTES_A_FIELD: usize = 1 << 12;

/// `table.concat`
pub unsafe extern "C-unwind" fn concat(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua. The separator is an argument, which stays on the stack. The buffer lies still in this frame; what it owns is on
    // Lua's stack.
    unsafe {
        let (separator, i, last) = arguments(l);
        sys::lua_settop(l, 4);
        let mut result = MaybeUninit::<luaL_Buffer>::uninit();
        let result = result.as_mut_ptr();
        sys::luaL_buffinit(l, result);
        if i <= last {
            add_all(l, result, separator, i, last);
        }
        sys::luaL_pushresult(result);
    }
    1
}

type Separator = (*const u8, usize);

/// The separator, the first position and the last one. In this order they are checked, which shows when several are wrong.
#[inline(always)]
unsafe fn arguments(l: *mut lua_State) -> (Separator, Index, Index) {
    // SAFETY: by the caller, `concat`.
    unsafe {
        let mut size = 0;
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        let length = dialect::length(l, needs::READ);
        let separator = sys::luaL_optlstring(l, 2, c"".as_ptr(), &mut size).cast();
        #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
        dialect::check(l, 1, needs::READ);
        let first = sys::luaL_optinteger(l, 3, 1) as Index;
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        let last = sys::luaL_optinteger(l, 4, length);
        #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
        let last = match sys::lua_isnoneornil(l, 4) != 0 {
            true => dialect::length_unchecked(l),
            false => dialect::position(l, 4),
        };
        ((separator, size), first, last)
    }
}

#[inline(always)]
unsafe fn add_all(
    l: *mut lua_State,
    result: *mut luaL_Buffer,
    (separator, separator_size): Separator,
    mut i: Index,
    last: Index,
) {
    let mut left = BETWEEN as isize;
    // SAFETY: by the caller, `concat`. Between fields, nothing but the buffer's is above the arguments.
    unsafe {
        loop {
            dialect::get(l, 1, i);
            let mut size = 0;
            let field: *const u8 = sys::lua_tolstring(l, -1, &mut size).cast();
            if field.is_null() {
                return invalid(l, i);
            }
            if size <= buffer::room(result).1 {
                buffer::add(result, field, field.add(size));
                sys::lua_settop(l, -2);
            } else {
                sys::luaL_addvalue(result);
            }
            if i == last {
                return;
            }
            if separator_size != 0 {
                buffer::add(result, separator, separator.add(separator_size));
            }
            i += 1;
            left -= 1 + ((size + separator_size) / BYTES_A_FIELD) as isize;
            if left <= 0 {
                left = BETWEEN as isize;
                steps::look_up(l);
            }
        }
    }
}

/// The error for the value on top, which is at `i`, in the words of the original. It has them from a table of ours, lest the script sees its own asked twice.
#[cold]
unsafe fn invalid(l: *mut lua_State, i: Index) {
    // SAFETY: by the caller, `add_all`: there are four arguments. What is left of the buffer stays above them. A nil may be an element that is not there.
    unsafe {
        sys::lua_createtable(l, 0, 1);
        sys::lua_pushinteger(l, i as sys::lua_Integer);
        sys::lua_pushvalue(l, -3);
        sys::lua_rawset(l, -3);
        sys::lua_replace(l, 1);
        sys::lua_pushstring(l, c"".as_ptr());
        sys::lua_replace(l, 2);
        for argument in [3, 4] {
            sys::lua_pushinteger(l, i as sys::lua_Integer);
            sys::lua_replace(l, argument);
        }
        original(l, |stock| stock.tables.concat);
    }
}
