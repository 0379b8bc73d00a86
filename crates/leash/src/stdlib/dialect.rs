//! What the versions of the library `string` do differently, as far as it is here: all of it, and nowhere else.
//!
//! | | 5.1 | 5.2 | 5.3 | 5.4 | 5.5 | LuaJIT |
//! |---|---|---|---|---|---|---|
//! | a zero byte ends a pattern | yes | no | no | no | no | yes |
//! | recursion of the matcher | until the C stack overflows | 200 | 200 | 200 | 200 | 200 |
//! | `x*` and `x-` that do not match once | recurse | go on | go on | go on | go on | recurse |
//! | classes depend on the locale | yes | yes | yes | yes | yes | no |
//! | `%g` | no | yes | yes | yes | yes | yes |
//! | `%b` without its two characters is | unbalanced | malformed | malformed | malformed | malformed | unbalanced |
//! | `invalid capture index` tells which: `%1` in a pattern, in a replacement | no, no | yes, no | yes, yes | yes, yes | yes, yes | no, no |
//! | other `%x` in a replacement | is `x` | error | error | error | error | is `x` |
//! | start beyond the end | the end | no match | no match | no match | no match | the end, or as in 5.2 if built so |
//! | start of `gmatch` | no | no | no | yes | yes | no |
//! | an empty match may follow another at once | yes | yes | no, but in early releases | no | no | yes |
//! | depth of recursion counts on after an error in `gmatch` | no | no | yes | in early releases | no | no |
//! | counts are | `int` | `int` | `lua_Integer` | `lua_Integer` | `lua_Integer` | `int` |
//! | separator of `rep` | no | yes | yes | yes | yes | yes |
//! | longest result of `rep` | memory | 2^63 / n | 2^31 | 2^31 | 2^63 | 2^31, then no memory |
//!
//! What depends on the release is asked of the library itself ([`super::stock`]).

use super::stock;
use crate::home;
use crate::sys::{self, lua_Integer, lua_State};
use std::ffi::{CStr, c_int};

/// 5.1, and LuaJIT, whose matcher comes from there.
pub const OLD: bool = cfg!(any(feature = "lua51", feature = "luajit"));

/// A pattern is a C string.
pub const ZERO_ENDS_PATTERN: bool = OLD;

/// Optional items that do not match at all still cost a level of recursion.
pub const MISS_RECURSES: bool = OLD;

/// `MAXCCALLS` in `lstrlib.c`, `LJ_MAX_XLEVEL` in LuaJIT.
pub const MOST_LEVELS: i32 = 200;

/// 5.1 has no such limit.
pub const LEVELS_ARE_LIMITED: bool = !cfg!(feature = "lua51");

/// `LUA_MAXCAPTURES`.
pub const MOST_CAPTURES: usize = 32;

/// LuaJIT has tables of its own for character classes.
pub const FOLLOWS_LOCALE: bool = !cfg!(feature = "luajit");

/// There is a class of printable characters.
pub const HAS_CLASS_G: bool = !cfg!(feature = "lua51");

/// `%` in a replacement stands before a digit or itself only.
pub const REPLACEMENT_IS_STRICT: bool = !OLD;

/// `rep` takes a separator.
pub const REP_SEPARATES: bool = !cfg!(feature = "lua51");

/// `gmatch` takes a start.
pub const GMATCH_STARTS: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// LuaJIT's compiler knows the original iterator, and takes all of its closures for the same function. Of another C function each closure is compiled for
/// itself, which makes loops over short subjects three times as slow. So there the original is kept where it cannot run for long.
pub const KNOWS_ITERATOR: bool = cfg!(feature = "luajit");

/// Messages.
pub const ENDS_WITH_ESCAPE: &CStr = c"malformed pattern (ends with '%%')";
/// See above.
pub const NO_BRACKET: &CStr = c"malformed pattern (missing ']')";
/// See above.
pub const NO_FRONTIER: &CStr = c"missing '[' after '%%f' in pattern";
/// See above.
pub const NO_BALANCE: &CStr = if OLD {
    c"unbalanced pattern"
} else {
    c"malformed pattern (missing arguments to '%%b')"
};
/// A `%1` in the pattern: takes the number where it is told.
pub const BAD_BACK_REFERENCE: &CStr = if OLD {
    c"invalid capture index"
} else {
    c"invalid capture index %%%d"
};
/// A `%1` in the replacement.
pub const BAD_REFERENCE: &CStr = if OLD || cfg!(feature = "lua52") {
    c"invalid capture index"
} else {
    c"invalid capture index %%%d"
};

/// `int` of a C compiler for x86-64, from a number: what does not fit is the least one. LuaJIT converts so.
#[cfg(feature = "luajit")]
fn as_int(n: f64) -> i64 {
    let whole = n.trunc();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole) {
        whole as i64
    } else {
        i64::from(i32::MIN)
    }
}

/// A whole number at `index`, in the type that the original uses.
///
/// # Safety
/// In a C function that Lua has called. May raise.
pub unsafe fn count(l: *mut lua_State, index: c_int) -> i64 {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(feature = "luajit")]
        return as_int(sys::luaL_checknumber(l, index));
        #[cfg(any(feature = "lua51", feature = "lua52"))]
        return i64::from(sys::luaL_checkinteger(l, index) as c_int);
        #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
        sys::luaL_checkinteger(l, index)
    }
}

/// Where to start in a subject of this length, from the argument at `index`: an offset; none if that is beyond the end, and nothing is found there.
///
/// # Safety
/// In a C function that Lua has called. May raise.
pub unsafe fn start(l: *mut lua_State, index: c_int, length: usize) -> Option<usize> {
    // SAFETY: by the caller.
    unsafe {
        let length = length as i64;
        #[cfg(feature = "luajit")]
        let start = match as_int(sys::luaL_optnumber(l, index, 1.0)) {
            n if n < 0 => (n + length).max(0),
            n => (n - 1).max(0),
        };
        #[cfg(not(feature = "luajit"))]
        let start = match sys::luaL_optinteger(l, index, 1) as i64 {
            n if n < 0 => n.saturating_add(length).max(0),
            n => (n - 1).max(0),
        };
        if start <= length {
            Some(start as usize)
        } else if stock::has(stock::END_IS_LAST_START) {
            Some(length as usize)
        } else {
            None
        }
    }
}

/// Before a function calls Lua, which may call the function again: raises where the C stack is nearly used up. Only LuaJIT lets it overflow (the others
/// allow 200 calls of C functions inside each other).
///
/// # Safety
/// In a C function that Lua has called. May raise.
#[inline(always)]
pub unsafe fn may_nest(l: *mut lua_State) {
    if cfg!(feature = "luajit") && home::stack_room().is_some_and(|room| room < home::STACK_RESERVE)
    {
        // SAFETY: by the caller.
        unsafe { sys::luaL_error(l, c"C stack overflow".as_ptr()) };
    }
}

/// How many replacements `gsub` is to make at most.
///
/// # Safety
/// In a C function that Lua has called. May raise.
pub unsafe fn most_replacements(l: *mut lua_State, index: c_int) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_isnoneornil(l, index) != 0 {
            return u64::MAX;
        }
        let n: lua_Integer = sys::luaL_checkinteger(l, index);
        if OLD {
            u64::try_from(n as c_int).unwrap_or(0)
        } else if cfg!(feature = "lua52") {
            n as u64 // a `size_t`: negative is plenty
        } else {
            u64::try_from(n as i64).unwrap_or(0)
        }
    }
}

/// How often `rep` is to repeat.
///
/// # Safety
/// In a C function that Lua has called. May raise.
pub unsafe fn repetitions(l: *mut lua_State, index: c_int) -> u64 {
    // SAFETY: by the caller.
    u64::try_from(unsafe { count(l, index) }).unwrap_or(0)
}

/// What `rep` does about `n` times `each` bytes.
pub enum Size {
    /// There is room for it, perhaps.
    Fits,
    /// `resulting string too large`
    TooLarge,
    /// As the original says it.
    LeftToOriginal,
}

/// See [`Size`], for `n` times so many bytes, the last time without the separator, `total` bytes.
#[inline(always)]
pub fn size_of_result(n: u64, each: usize, total: u64) -> Size {
    let each = each as u64;
    const INT_MAX: u64 = c_int::MAX as u64;
    const HALF: u64 = u64::MAX >> 1;
    let fits = if cfg!(feature = "lua51") {
        true // it grows until there is no memory
    } else if cfg!(feature = "lua52") {
        each < HALF / n
    } else if cfg!(feature = "lua55") {
        each <= HALF / n
    } else if cfg!(feature = "luajit") {
        // More than `LJ_MAX_STR`; or where its own buffer is better, and no more than a millisecond.
        if total > 0x7fff_ff00 || (1 << 10..1 << 19).contains(&total) {
            return Size::LeftToOriginal;
        }
        true
    } else {
        each <= INT_MAX / n
    };
    if fits { Size::Fits } else { Size::TooLarge }
}
