//! `string.gmatch`, and the iterator that it returns.
//!
//! The iterator is a closure of the subject, the pattern and a number: where it is, whether it has matched before, and, where the original keeps that
//! ([`KEEPS_DEPTH`]), the levels of recursion that failed matches have lost.

use super::matcher::{At, Matcher};
use super::stock::{self, APART, KEEPS_DEPTH};
use super::{captures, dialect};
use crate::sys::{self, lua_Integer, lua_State};
use std::ffi::c_int;

const STATE: c_int = 3;

/// The number. Where positions have 48 bits, numbers have 63; where numbers are floats, nothing is kept above.
struct Place {
    /// Where to go on.
    at: usize,
    /// That is where a match has ended.
    matched: bool,
    /// Levels that have been lost.
    lost: i64,
}

const LOST: u32 = 49;
const MOST_LOST: i64 = (1 << 13) - 1;

impl Place {
    #[inline(always)]
    unsafe fn get(l: *mut lua_State) -> Place {
        // SAFETY: by the caller: in the iterator.
        let n = unsafe { sys::lua_tointeger(l, sys::lua_upvalueindex(STATE)) } as i64;
        Place {
            at: ((n & ((1 << LOST) - 1)) >> 1) as usize,
            matched: n & 1 != 0,
            lost: n >> LOST,
        }
    }

    #[inline(always)]
    fn number(self) -> lua_Integer {
        ((self.at as i64) << 1 | i64::from(self.matched) | self.lost << LOST) as lua_Integer
    }

    #[inline(always)]
    unsafe fn set(self, l: *mut lua_State) {
        // SAFETY: by the caller: in the iterator, with a free slot.
        unsafe {
            sys::lua_pushinteger(l, self.number());
            sys::lua_replace(l, sys::lua_upvalueindex(STATE));
        }
    }
}

/// `string.gmatch`
pub unsafe extern "C-unwind" fn gmatch(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe {
        let mut length = 0;
        sys::luaL_checklstring(l, 1, &mut length);
        sys::luaL_checklstring(l, 2, std::ptr::null_mut());
        let at = match dialect::GMATCH_STARTS {
            true => dialect::start(l, 3, length).unwrap_or(length + 1),
            false => 0,
        };
        sys::lua_settop(l, 2);
        let place = Place {
            at,
            matched: false,
            lost: 0,
        };
        sys::lua_pushinteger(l, place.number());
        sys::lua_pushcclosure(l, next, 3);
    }
    1
}

/// The iterator.
unsafe extern "C-unwind" fn next(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua. The strings are upvalues, which the closure keeps.
    unsafe {
        let (mut length, mut pattern_length) = (0, 0);
        let s: At = sys::lua_tolstring(l, sys::lua_upvalueindex(1), &mut length).cast();
        let p: At = sys::lua_tolstring(l, sys::lua_upvalueindex(2), &mut pattern_length).cast();
        let place = Place::get(l);
        let mut matcher = Matcher::new(l, (s, s.add(length)), p.add(pattern_length));
        if stock::has(KEEPS_DEPTH) {
            matcher.levels -= place.lost as i32;
            matcher.before_error = Some(keep_depth);
        }
        let first = matcher.first(p);
        let apart = stock::has(APART);
        let mut from = s.wrapping_add(place.at);
        let last = match apart && place.matched {
            true => from,
            false => std::ptr::null(),
        };
        while from <= matcher.subject_end {
            if let Some(first) = first {
                from = matcher.pass(from, first);
            }
            let to = matcher.matches(from, p);
            if !to.is_null() && to != last {
                // After an empty match the next one begins a character later, or may not end here.
                let step = usize::from(to == from && !apart);
                let place = Place {
                    at: to.offset_from_unsigned(s) + step,
                    matched: true,
                    ..place
                };
                place.set(l);
                return captures::push_all(&matcher, Some((from, to)));
            }
            from = from.add(1);
        }
    }
    0
}

/// A match is about to end by an error, with so many levels left.
unsafe fn keep_depth(l: *mut lua_State, levels: i32) {
    // SAFETY: in the iterator.
    unsafe {
        let place = Place::get(l);
        let lost = i64::from(dialect::MOST_LEVELS - levels).min(MOST_LOST);
        Place { lost, ..place }.set(l);
    }
}
