//! `string.gmatch`, and the iterator that it returns.
//!
//! The iterator is a closure of the subject, the pattern, and a userdata that knows where it is. The strings are there to be kept; the userdata points
//! into them. (So does that of the originals from 5.3 on. A script that takes the strings away by `debug.setupvalue` has asked for it.)

use super::matcher::{At, Matcher};
use super::stock::{self, APART, KEEPS_DEPTH};
use super::{captures, dialect};
use crate::sys::{self, lua_State};
use std::ffi::c_int;
use std::ptr;

/// What an iterator knows.
struct Place {
    /// The subject.
    subject: At,
    /// Where it ends.
    subject_end: At,
    /// The pattern.
    pattern: At,
    /// Where it ends.
    pattern_end: At,
    /// Where to go on.
    at: At,
    /// Where the last match has ended; null if it does not matter.
    last: At,
    /// Levels of recursion that are left.
    levels: i32,
    /// The pattern has a [first](Matcher::first) item.
    passes: bool,
}

const PLACE: c_int = 3;

/// `string.gmatch`
pub unsafe extern "C-unwind" fn gmatch(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua. The userdata is as aligned as everything that Lua allocates, and written before it is used.
    unsafe {
        let (mut length, mut pattern_length) = (0, 0);
        let subject: At = sys::luaL_checklstring(l, 1, &mut length).cast();
        let pattern: At = sys::luaL_checklstring(l, 2, &mut pattern_length).cast();
        let start = match dialect::GMATCH_STARTS {
            true => dialect::start(l, 3, length).unwrap_or(length + 1),
            false => 0,
        };
        if dialect::KNOWS_ITERATOR
            && is_quick(length, pattern, pattern_length)
            && let Some(stock) = stock::stock()
        {
            return (stock.gmatch)(l);
        }
        sys::lua_settop(l, 2);
        let place: *mut Place = sys::lua_newuserdata(l, size_of::<Place>()).cast();
        let subject_end = subject.add(length);
        let pattern_end = pattern.add(pattern_length);
        let matcher = Matcher::new(l, (subject, subject_end), pattern_end);
        place.write(Place {
            subject,
            subject_end,
            pattern,
            pattern_end,
            at: subject.wrapping_add(start),
            last: ptr::null(),
            levels: dialect::MOST_LEVELS,
            passes: matcher.first(pattern).is_some(),
        });
        sys::lua_pushcclosure(l, next, 3);
    }
    1
}

/// Whether a match, wherever it begins, surely ends within some milliseconds: each item that repeats multiplies the work by the length of the subject at
/// most, and `?` doubles it.
unsafe fn is_quick(length: usize, pattern: At, pattern_length: usize) -> bool {
    const MOST: usize = 1 << 22;
    if pattern_length > 64 {
        return false;
    }
    let mut steps = length + 1;
    let mut before = 0;
    // A set takes a step for each few of its characters.
    let mut sets = 1;
    for i in 0..pattern_length {
        // SAFETY: in the pattern.
        let c = unsafe { *pattern.add(i) };
        let factor = match c {
            b'*' | b'+' | b'-' => length + 1,
            b'b' | b'0'..=b'9' if before == b'%' => length + 1,
            b'?' => 2,
            _ => 1,
        };
        if c == b'[' {
            sets = pattern_length / 8 + 1;
        }
        before = c;
        steps = steps.saturating_mul(factor);
    }
    steps.saturating_mul(sets) <= MOST
}

/// The iterator.
pub unsafe extern "C-unwind" fn next(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, a closure that `gmatch` has made.
    unsafe {
        let place: *mut Place = sys::lua_touserdata(l, sys::lua_upvalueindex(PLACE)).cast();
        let Place {
            subject,
            subject_end,
            pattern,
            pattern_end,
            at: mut from,
            last,
            levels,
            passes,
        } = place.read();
        let mut matcher = Matcher::new(l, (subject, subject_end), pattern_end);
        if stock::has(KEEPS_DEPTH) {
            matcher.levels = levels;
            matcher.before_error = Some(keep_levels);
        }
        let first = match passes {
            true => matcher.first(pattern),
            false => None,
        };
        while from <= subject_end {
            if let Some(first) = first {
                from = matcher.pass(from, first);
            }
            let to = matcher.matches(from, pattern);
            if !to.is_null() && to != last {
                if stock::has(APART) {
                    (*place).at = to;
                    (*place).last = to;
                } else {
                    // After an empty match the next one begins a character later.
                    (*place).at = to.wrapping_add(usize::from(to == from));
                }
                return captures::push_all(&matcher, Some((from, to)));
            }
            from = from.wrapping_add(1);
        }
    }
    0
}

/// A match is about to end by an error, with so many levels left.
unsafe fn keep_levels(l: *mut lua_State, levels: i32) {
    // SAFETY: in the iterator.
    unsafe {
        let place: *mut Place = sys::lua_touserdata(l, sys::lua_upvalueindex(PLACE)).cast();
        (*place).levels = levels;
    }
}
