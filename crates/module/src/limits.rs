//! Limits as Lua gives them: a number of seconds, or a table.
//!
//! The table is walked once, and not asked for four names: so an unknown key is found on the way, and a table with one limit takes the
//! least time. Metamethods are not asked.
//!
//! What makes no sense is refused rather than bent into something that does: a negative number, NaN, a string that looks like a number, a part
//! of an instruction or of a byte. Infinity, and whatever is too large to be reached, is no limit.
//!
//! Or they have been read before: see [`prepared`].

use crate::prepared;
use leash::Limits;
use leash::sys::{self, lua_State};
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;

/// Room for limits that are read from a number or a table.
pub type Room = MaybeUninit<Limits>;

/// The limits at `index`, read into `room` unless they are [prepared].
///
/// # Safety
/// In a C function that Lua has called, with some free slots. Raises `bad argument` for what are no limits. What is returned stays while the value is on the stack;
/// if the limits warn, that is a table then.
#[inline]
pub unsafe fn check(l: *mut lua_State, room: &mut Room, index: c_int) -> &Limits {
    // SAFETY: by the caller.
    unsafe {
        match read(l, room, index) {
            Ok(limits) => limits,
            Err(why) => refuse(l, index, why),
        }
    }
}

/// As [`check`], but none for what are no limits. The stack is as before.
///
/// # Safety
/// As [`check`], but raises nothing of its own.
#[cfg(feature = "luajit")]
#[inline]
pub unsafe fn get(l: *mut lua_State, room: &mut Room, index: c_int) -> Option<&Limits> {
    // SAFETY: by the caller.
    unsafe {
        let top = sys::lua_gettop(l);
        match read(l, room, index) {
            Ok(limits) => Some(limits),
            Err(_) => {
                sys::lua_settop(l, top);
                None
            }
        }
    }
}

/// Why something is no limit: a string, constant or on the stack.
pub struct Refused(*const c_char);

/// Raises the error that says why.
///
/// # Safety
/// As [`check`].
pub unsafe fn refuse(l: *mut lua_State, index: c_int, why: Refused) -> ! {
    // SAFETY: by the caller.
    unsafe { sys::luaL_argerror(l, index, why.0) };
    unreachable!("luaL_argerror does not return");
}

/// # Safety
/// As [`check`]. Where something is refused, values are left on the stack.
#[inline]
unsafe fn read(l: *mut lua_State, room: &mut Room, index: c_int) -> Result<&Limits, Refused> {
    // SAFETY: by the caller.
    unsafe {
        let mut kind = sys::lua_type(l, index);
        if kind == sys::LUA_TUSERDATA
            && let Some(limits) = prepared::of(l, index)
        {
            if !limits.warns() {
                return Ok(limits);
            }
            prepared::unpack(l, index);
            kind = sys::LUA_TTABLE;
        }
        read_anew(l, room.write(Limits::new()), index, kind)
    }
}

/// # Safety
/// As [`read`]; there is a value of type `kind`.
unsafe fn read_anew(
    l: *mut lua_State,
    limits: &mut Limits,
    index: c_int,
    kind: c_int,
) -> Result<&Limits, Refused> {
    // SAFETY: by the caller.
    unsafe {
        match kind {
            sys::LUA_TNUMBER => add_timeout(l, limits, sys::lua_tonumber(l, index))?,
            sys::LUA_TTABLE => table(l, limits, index)?,
            kind => return Err(no_limits(l, kind)),
        }
    }
    Ok(limits)
}

/// # Safety
/// As [`read`].
unsafe fn table(l: *mut lua_State, limits: &mut Limits, index: c_int) -> Result<(), Refused> {
    // SAFETY: by the caller.
    unsafe {
        sys::lua_pushnil(l);
        while sys::lua_next(l, index) != 0 {
            match key(l)? {
                // What nearly every call asks for, and nothing else.
                b"timeout\0" if sys::lua_type(l, -1) == sys::LUA_TNUMBER => {
                    add_timeout(l, limits, sys::lua_tonumber(l, -1))?;
                }
                key => add(l, limits, key, -1)?,
            }
            sys::lua_settop(l, -2);
        }
    }
    Ok(())
}

/// # Safety
/// As [`read`].
#[inline]
unsafe fn add_timeout(l: *mut lua_State, limits: &mut Limits, n: f64) -> Result<(), Refused> {
    // SAFETY: by the caller.
    limits.set_timeout(nanoseconds(unsafe { not_negative(l, b"timeout\0", n) }?));
    Ok(())
}

/// The key of a traversal, with the zero that follows it; its value is on top of the stack.
///
/// # Safety
/// As [`read`].
unsafe fn key<'a>(l: *mut lua_State) -> Result<&'a [u8], Refused> {
    // SAFETY: by the caller. Only a key that is a string is looked at as one, which does not change it.
    unsafe {
        match sys::lua_type(l, -2) {
            sys::LUA_TSTRING => Ok(text(l, -2)),
            kind => {
                let why = c"unknown limit: a %s as key";
                let kind = sys::lua_typename(l, kind);
                Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), kind)))
            }
        }
    }
}

/// The limits of a watch.
#[derive(Default)]
pub struct Watching {
    /// From a resume to the end.
    pub timeout: Option<Duration>,
    /// From a resume to the warning.
    pub warn: Option<Duration>,
    /// The index of the function that is called then; 0: there is none. It stays on the stack.
    pub on_warn: c_int,
}

/// The limits of a watch at `index`.
///
/// # Safety
/// As [`check`].
pub unsafe fn check_watching(l: *mut lua_State, index: c_int) -> Watching {
    // SAFETY: by the caller.
    unsafe {
        match read_watching(l, index) {
            Ok(watching) => watching,
            Err(why) => refuse(l, index, why),
        }
    }
}

/// # Safety
/// As [`read`].
unsafe fn read_watching(l: *mut lua_State, index: c_int) -> Result<Watching, Refused> {
    let mut w = Watching::default();
    // SAFETY: by the caller.
    unsafe {
        match sys::lua_type(l, index) {
            sys::LUA_TNUMBER => w.timeout = seconds(number(l, b"timeout\0", index)?),
            sys::LUA_TTABLE => {
                let function = sys::lua_gettop(l) + 1;
                sys::lua_pushnil(l); // makes room for it
                sys::lua_pushnil(l);
                while sys::lua_next(l, index) != 0 {
                    match key(l)? {
                        b"timeout\0" => w.timeout = seconds(number(l, b"timeout\0", -1)?),
                        b"warn\0" => w.warn = seconds(number(l, b"warn\0", -1)?),
                        b"on_warn\0" => {
                            callable(l, -1)?;
                            sys::lua_pushvalue(l, -1);
                            sys::lua_replace(l, function);
                            w.on_warn = function;
                        }
                        key => {
                            let why =
                                c"'%s' is no limit of a watch, which takes timeout, warn and on_warn";
                            let key = key.as_ptr().cast::<c_char>();
                            return Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), key)));
                        }
                    }
                    sys::lua_settop(l, -2);
                }
            }
            kind => return Err(no_limits(l, kind)),
        }
    }
    match (w.warn, w.on_warn, w.timeout) {
        (Some(_), 0, _) => Err(Refused(c"warn needs on_warn".as_ptr())),
        (None, 1.., _) => Err(Refused(c"on_warn needs warn".as_ptr())),
        (Some(warn), _, Some(timeout)) if warn >= timeout => {
            Err(Refused(c"warn has to be less than timeout".as_ptr()))
        }
        _ => Ok(w),
    }
}

/// Pushes the `on_warn` of the limits at `index`, a table that has been checked and has that or `warn`. There has to be the other, too, and before the
/// timeout. Returns when to call it, or why that cannot be.
///
/// # Safety
/// As [`check`].
pub unsafe fn push_on_warn(l: *mut lua_State, index: c_int) -> Result<Duration, Refused> {
    // SAFETY: by the caller; metamethods are not asked.
    unsafe {
        let top = sys::lua_gettop(l);
        for name in [c"on_warn", c"warn", c"timeout"] {
            sys::lua_pushstring(l, name.as_ptr());
            sys::lua_rawget(l, index);
        }
        let has = |at: c_int| sys::lua_type(l, top + at) != sys::LUA_TNIL;
        let number = |at: c_int| sys::lua_tonumber(l, top + at);
        let why = if !has(1) {
            c"warn needs on_warn"
        } else if !has(2) {
            c"on_warn needs warn"
        } else if has(3) && number(2) >= number(3) {
            c"warn has to be less than timeout"
        } else {
            let after = seconds(number(2)).unwrap_or(Duration::MAX);
            sys::lua_settop(l, top + 1);
            return Ok(after);
        };
        sys::lua_settop(l, top);
        Err(Refused(why.as_ptr()))
    }
}

/// # Safety
/// As [`read`].
unsafe fn callable(l: *mut lua_State, value: c_int) -> Result<(), Refused> {
    // SAFETY: by the caller.
    unsafe {
        if sys::lua_type(l, value) == sys::LUA_TFUNCTION {
            return Ok(());
        }
        let why = c"on_warn: function expected, got %s";
        let kind = sys::lua_typename(l, sys::lua_type(l, value));
        Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), kind)))
    }
}

/// # Safety
/// As [`read`].
unsafe fn no_limits(l: *mut lua_State, kind: c_int) -> Refused {
    // SAFETY: by the caller.
    unsafe {
        let kind = match kind {
            sys::LUA_TNONE => c"no value".as_ptr(),
            kind => sys::lua_typename(l, kind),
        };
        let why = c"seconds or a table of limits expected, got %s";
        Refused(sys::lua_pushfstring(l, why.as_ptr(), kind))
    }
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

/// Adds the limit called `key`, whose value is at `value`.
///
/// # Safety
/// As [`read`]; `key` ends with a zero, and is not collected meanwhile.
unsafe fn add(
    l: *mut lua_State,
    limits: &mut Limits,
    key: &[u8],
    value: c_int,
) -> Result<(), Refused> {
    // SAFETY: by the caller.
    unsafe {
        match key {
            b"timeout\0" => add_timeout(l, limits, number(l, key, value)?)?,
            b"cpu\0" => {
                if let Some(t) = seconds(number(l, key, value)?) {
                    *limits = limits.cpu(t);
                }
            }
            b"instructions\0" => {
                if let Some(n) = whole(l, key, value)? {
                    *limits = limits.instructions(n);
                }
            }
            // With the function that goes with it: see `push_on_warn`.
            b"warn\0" => {
                let after = seconds(number(l, key, value)?);
                *limits = limits.warn(after.unwrap_or(Duration::MAX), 0);
            }
            b"sigint\0" => match sys::lua_type(l, value) {
                sys::LUA_TBOOLEAN if sys::lua_toboolean(l, value) != 0 => *limits = limits.sigint(),
                sys::LUA_TBOOLEAN => {}
                kind => {
                    let why = c"sigint: boolean expected, got %s";
                    let kind = sys::lua_typename(l, kind);
                    return Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), kind)));
                }
            },
            b"on_warn\0" => {
                callable(l, value)?;
                if !limits.warns() {
                    *limits = limits.warn(Duration::MAX, 0);
                }
            }
            b"memory\0" => {
                if let Some(Ok(n)) = whole(l, key, value)?.map(usize::try_from) {
                    *limits = limits.memory(n);
                }
            }
            _ => {
                let name = key.as_ptr().cast::<c_char>();
                let why = sys::lua_pushfstring(l, c"unknown limit '%s'".as_ptr(), name);
                return Err(Refused(why));
            }
        }
    }
    Ok(())
}

/// The greatest number: too long to be reached. `seconds` is not negative, and no NaN. (What the library does takes four times as long.)
#[inline]
fn nanoseconds(seconds: f64) -> u64 {
    // Nearly all limits are shorter, and then an `f64` has room for eighths of their nanoseconds, and the signed type takes one instruction.
    const USUAL: f64 = 1e6;
    let nanos = seconds * 1e9 + 0.5;
    if seconds < USUAL {
        nanos as i64 as u64
    } else {
        nanos as u64 // stops at the greatest number
    }
}

/// None: too long to be reached.
#[inline]
fn seconds(n: f64) -> Option<Duration> {
    let nanos = nanoseconds(n);
    (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
}

/// # Safety
/// As [`read`].
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
/// As [`read`].
unsafe fn number(l: *mut lua_State, key: &[u8], value: c_int) -> Result<f64, Refused> {
    // SAFETY: by the caller.
    unsafe {
        let kind = sys::lua_type(l, value);
        if kind != sys::LUA_TNUMBER {
            let kind = sys::lua_typename(l, kind);
            let why = c"%s: number expected, got %s";
            let key = key.as_ptr().cast::<c_char>();
            return Err(Refused(sys::lua_pushfstring(l, why.as_ptr(), key, kind)));
        }
        not_negative(l, key, sys::lua_tonumber(l, value))
    }
}

/// # Safety
/// As [`read`].
#[inline]
unsafe fn not_negative(l: *mut lua_State, key: &[u8], n: f64) -> Result<f64, Refused> {
    if n >= 0.0 {
        return Ok(n);
    }
    let why = if n.is_nan() {
        c"%s is not a number (NaN)"
    } else {
        c"%s is negative"
    };
    let key = key.as_ptr().cast::<c_char>();
    // SAFETY: by the caller.
    Err(Refused(unsafe {
        sys::lua_pushfstring(l, why.as_ptr(), key)
    }))
}
