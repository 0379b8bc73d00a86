//! What the versions of the library `table` do differently, as far as it is here: all of it, and nowhere else.
//!
//! | | 5.1 | 5.2 | 5.3 | 5.4 | 5.5 | LuaJIT |
//! |---|---|---|---|---|---|---|
//! | elements are read and stored | raw | raw | by metamethods | by metamethods | by metamethods | raw |
//! | what has metamethods may stand in for a table | no | no | yes | yes | yes | no |
//! | a string, too, without `__len` | no | no | no | no | yes | no |
//! | the length asks `__len` | no | yes | yes | yes | yes | no |
//! | positions are | `int` | `int` | `lua_Integer` | `lua_Integer` | `lua_Integer` | `int` |
//! | `insert` where there is no place, `remove` where nothing is | grows; nothing | error, but in early releases | error | error | error | grows; Lua code |
//! | positions of a table of negative length are compared | signed | signed | signed | unsigned | unsigned | signed |
//! | an order that is none is found | behind the end | at the end | at the pivot | at the pivot | at the pivot | at the end |
//! | pivots may be random | no | no | yes | yes | yes | no |
//!
//! What depends on the release is asked of the library itself ([`stock`]).

use crate::stdlib::dialect::count;
use crate::stdlib::stock;
use crate::sys::{self, lua_State};
use std::ffi::c_int;

/// A position in a table.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
pub type Index = sys::lua_Integer;
/// A position in a table.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
pub type Index = c_int;

/// A table of negative length has places nearly everywhere.
#[cfg(not(feature = "luajit"))]
const UNSIGNED: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// What something must be able to do to stand in for a table: these bits.
pub mod needs {
    /// `__index`
    #[cfg(not(feature = "luajit"))]
    pub const READ: u8 = 1;
    /// `__newindex`
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    pub const WRITE: u8 = 2;
    /// `__len`
    pub const LENGTH: u8 = 4;
    /// All three.
    pub const ALL: u8 = 7;
}

/// Pushes an element of the table at `table`.
///
/// # Safety
/// In a C function that Lua has called, with a free slot. What is there has been checked ([`check`]). May raise.
#[inline(always)]
pub unsafe fn get(l: *mut lua_State, table: c_int, i: Index) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        sys::lua_geti(l, table, i);
        #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
        sys::lua_rawgeti_(l, table, i);
    }
}

/// Pops a value and makes it an element.
///
/// # Safety
/// As [`get`].
#[inline(always)]
pub unsafe fn set(l: *mut lua_State, table: c_int, i: Index) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        sys::lua_seti(l, table, i);
        #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
        sys::lua_rawseti_(l, table, i);
    }
}

/// Raises an error unless the argument is a table, or has the metamethods that stand in for one.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn check(l: *mut lua_State, argument: c_int, what: u8) {
    // SAFETY: by the caller.
    unsafe {
        let kind = sys::lua_type(l, argument);
        if kind != sys::LUA_TTABLE && !stands_in(l, argument, kind, what) {
            sys::luaL_checktype(l, argument, sys::LUA_TTABLE);
        }
    }
}

#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
unsafe fn stands_in(_: *mut lua_State, _: c_int, _: c_int, _: u8) -> bool {
    false
}

#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[cold]
unsafe fn stands_in(l: *mut lua_State, argument: c_int, kind: c_int, what: u8) -> bool {
    use needs::{LENGTH, READ, WRITE};
    // SAFETY: by the caller, `check`.
    unsafe {
        let top = sys::lua_gettop(l);
        let has = |name: &std::ffi::CStr| {
            sys::lua_pushstring(l, name.as_ptr());
            sys::lua_rawget(l, top + 1);
            let there = sys::lua_type(l, -1) != sys::LUA_TNIL;
            sys::lua_settop(l, top + 1);
            there
        };
        let strings_have_length = || kind == sys::LUA_TSTRING && stock::has(stock::TEXT_IS_TABLE);
        let stands_in = sys::lua_getmetatable(l, argument) != 0
            && (what & READ == 0 || has(c"__index"))
            && (what & WRITE == 0 || has(c"__newindex"))
            && (what & LENGTH == 0 || strings_have_length() || has(c"__len"));
        sys::lua_settop(l, top);
        stands_in
    }
}

/// The length of the first argument, which is checked.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn length(l: *mut lua_State, what: u8) -> Index {
    // SAFETY: by the caller.
    unsafe {
        check(l, 1, what | needs::LENGTH);
        length_unchecked(l)
    }
}

/// The length of the first argument.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn length_unchecked(l: *mut lua_State) -> Index {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        return sys::lua_objlen(l, 1) as Index;
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        sys::luaL_len(l, 1)
    }
}

/// A position that is an argument.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn position(l: *mut lua_State, argument: c_int) -> Index {
    // SAFETY: by the caller.
    unsafe { count(l, argument) as Index }
}

/// Whether any position will do for `insert` and `remove`.
#[inline(always)]
pub fn anywhere() -> bool {
    cfg!(any(feature = "lua51", feature = "luajit"))
        || cfg!(feature = "lua52") && stock::has(stock::ANY_POSITION)
}

/// Whether `insert` may put something there, if the first empty place is `end`.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[inline(always)]
pub fn may_insert(position: Index, end: Index) -> bool {
    match UNSIGNED {
        true => (position as u64).wrapping_sub(1) < end as u64,
        false => 1 <= position && position <= end,
    }
}

/// Whether `remove` may take something from there.
#[cfg(not(feature = "luajit"))]
#[inline(always)]
pub fn may_remove(position: Index, length: Index) -> bool {
    if anywhere() {
        return 1 <= position && position <= length;
    }
    position == length
        || match UNSIGNED {
            true => (position as u64).wrapping_sub(1) <= length as u64,
            false => 1 <= position && position <= length.wrapping_add(1),
        }
}

/// Whether the value at `a` is less than that at `b`.
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn is_less(l: *mut lua_State, a: c_int, b: c_int) -> bool {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        return sys::lua_lessthan(l, a, b) != 0;
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        return sys::lua_compare(l, a, b, sys::LUA_OPLT) != 0;
    }
}
