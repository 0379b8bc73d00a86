//! Limits as Lua gives them: a number of seconds, or a table.
//!
//! The table is walked once, and not asked for four names: so an unknown key is found on the way, and a table with one limit takes the
//! least time. Metamethods are not asked.
//!
//! What makes no sense is refused rather than bent into something that does: a negative number, NaN, a string that looks like a number, a part
//! of an instruction or of a byte. Infinity, and whatever is too large to be reached, is no limit.

use leash::Limits;
use leash::sys::{self, lua_State};
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// The limits at `index`.
///
/// # Safety
/// In a C function that Lua has called, with some free slots. Raises `bad argument` for what are no limits.
pub unsafe fn check(l: *mut lua_State, index: c_int) -> Limits {
    // SAFETY: by the caller.
    unsafe {
        match read(l, index) {
            Ok(limits) => limits,
            Err(Refused(why)) => {
                sys::luaL_argerror(l, index, why);
                unreachable!("luaL_argerror does not return");
            }
        }
    }
}

/// The same; none for what are no limits. The stack is as before.
///
/// # Safety
/// As [`check`], but raises nothing of its own.
#[cfg(feature = "luajit")]
pub unsafe fn get(l: *mut lua_State, index: c_int) -> Option<Limits> {
    // SAFETY: by the caller.
    unsafe {
        let top = sys::lua_gettop(l);
        let limits = read(l, index).ok();
        sys::lua_settop(l, top);
        limits
    }
}

/// Why something is no limit: a string on the stack.
struct Refused(*const c_char);

/// # Safety
/// As [`check`]. Where something is refused, values are left on the stack.
unsafe fn read(l: *mut lua_State, index: c_int) -> Result<Limits, Refused> {
    // SAFETY: by the caller.
    unsafe {
        match sys::lua_type(l, index) {
            sys::LUA_TNUMBER => with(l, Limits::new(), b"timeout\0", index),
            sys::LUA_TTABLE => table(l, index),
            kind => {
                let kind = match kind {
                    sys::LUA_TNONE => c"no value".as_ptr(),
                    kind => sys::lua_typename(l, kind),
                };
                let why = c"seconds or a table of limits expected, got %s";
                Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), kind)))
            }
        }
    }
}

/// # Safety
/// As [`read`].
unsafe fn table(l: *mut lua_State, index: c_int) -> Result<Limits, Refused> {
    let mut limits = Limits::new();
    // SAFETY: by the caller. Only a key that is a string is looked at as one, which does not change it.
    unsafe {
        sys::lua_pushnil(l);
        while sys::lua_next(l, index) != 0 {
            let key = match sys::lua_type(l, -2) {
                sys::LUA_TSTRING => text(l, -2),
                kind => {
                    let why = c"unknown limit: a %s as key";
                    let kind = sys::lua_typename(l, kind);
                    return Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), kind)));
                }
            };
            limits = with(l, limits, key, -1)?;
            sys::lua_settop(l, -2);
        }
    }
    Ok(limits)
}

/// The string at `index`, with the zero that follows it.
///
/// # Safety
/// There is a string, and it stays there.
unsafe fn text<'a>(l: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: by the caller. Lua's strings are followed by a zero.
    unsafe {
        let start = sys::lua_tolstring(l, index, &mut len).cast::<u8>();
        std::slice::from_raw_parts(start, len + 1)
    }
}

/// `limits`, and the one called `key`, whose value is at `value`.
///
/// # Safety
/// As [`read`]; `key` ends with a zero, and is not collected meanwhile.
unsafe fn with(
    l: *mut lua_State,
    limits: Limits,
    key: &[u8],
    value: c_int,
) -> Result<Limits, Refused> {
    // SAFETY: by the caller.
    unsafe {
        Ok(match key {
            b"timeout\0" => match seconds(number(l, key, value)?) {
                Some(t) => limits.timeout(t),
                None => limits,
            },
            b"cpu\0" => match seconds(number(l, key, value)?) {
                Some(t) => limits.cpu(t),
                None => limits,
            },
            b"instructions\0" => match whole(l, key, value)? {
                Some(n) => limits.instructions(n),
                None => limits,
            },
            b"memory\0" => match whole(l, key, value)?.map(usize::try_from) {
                Some(Ok(n)) => limits.memory(n),
                _ => limits,
            },
            _ => {
                let name = key.as_ptr().cast::<c_char>();
                let why = sys::lua_pushfstring(l, c"unknown limit '%s'".as_ptr(), name);
                return Err(Refused(why));
            }
        })
    }
}

/// None: too long to be reached.
fn seconds(n: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(n).ok()
}

/// # Safety
/// As [`with`].
unsafe fn whole(l: *mut lua_State, key: &[u8], value: c_int) -> Result<Option<u64>, Refused> {
    // SAFETY: by the caller.
    unsafe {
        let n = number(l, key, value)?;
        if n.is_finite() && n != n.floor() {
            let why = sys::lua_pushfstring(
                l,
                c"%s is not a whole number".as_ptr(),
                key.as_ptr().cast::<c_char>(),
            );
            return Err(Refused(why));
        }
        Ok((n < u64::MAX as f64).then_some(n as u64))
    }
}

/// A number that is not negative.
///
/// # Safety
/// As [`with`].
unsafe fn number(l: *mut lua_State, key: &[u8], value: c_int) -> Result<f64, Refused> {
    // SAFETY: by the caller.
    unsafe {
        let kind = sys::lua_type(l, value);
        let n = sys::lua_tonumber(l, value);
        let why = if kind != sys::LUA_TNUMBER {
            let kind = sys::lua_typename(l, kind);
            let why = c"%s: number expected, got %s";
            sys::lua_pushfstring(l, why.as_ptr(), key.as_ptr().cast::<c_char>(), kind)
        } else if n.is_nan() {
            sys::lua_pushfstring(
                l,
                c"%s is not a number (NaN)".as_ptr(),
                key.as_ptr().cast::<c_char>(),
            )
        } else if n < 0.0 {
            sys::lua_pushfstring(l, c"%s is negative".as_ptr(), key.as_ptr().cast::<c_char>())
        } else {
            return Ok(n);
        };
        Err(Refused(why))
    }
}
