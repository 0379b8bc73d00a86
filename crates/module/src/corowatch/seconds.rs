//! A number of seconds as the user gave it, in one word.
//!
//! The limits themselves are nanoseconds. But the message of a kill gives the number as `tostring` would give it, and from 5.3 on 1 and 1.0
//! are different to it. So the number is kept as well: a float, whose sign, of no use here, says that it was an integer.

use leash::sys::{self, lua_State};
use std::ffi::c_int;
use std::time::Duration;

const INTEGERS: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));
const SIGN: u64 = 1 << 63;

/// The number at `index`; zero if there is none there.
///
/// # Safety
/// As `lua_tonumber`.
pub unsafe fn mark(l: *mut lua_State, index: c_int) -> u64 {
    // SAFETY: by the caller.
    unsafe {
        let bits = sys::lua_tonumber(l, index).abs().to_bits();
        let integer = INTEGERS && sys::lua_isinteger(l, index) != 0;
        if integer { bits | SIGN } else { bits }
    }
}

/// Pushes the number.
///
/// # Safety
/// One free slot.
pub unsafe fn push(l: *mut lua_State, mark: u64) {
    let number = f64::from_bits(mark & !SIGN);
    // SAFETY: by the caller.
    unsafe {
        if mark & SIGN != 0 {
            sys::lua_pushinteger(l, number as sys::lua_Integer);
        } else {
            sys::lua_pushnumber(l, number);
        }
    }
}

/// The number at `index` as a duration; none if there is none there.
///
/// # Safety
/// As `lua_tonumber`.
pub unsafe fn limit(l: *mut lua_State, index: c_int) -> Option<Duration> {
    // SAFETY: by the caller.
    unsafe {
        (sys::lua_type(l, index) == sys::LUA_TNUMBER).then(|| {
            Duration::try_from_secs_f64(sys::lua_tonumber(l, index)).unwrap_or(Duration::MAX)
        })
    }
}
