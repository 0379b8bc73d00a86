//! What a match has captured, as values on Lua's stack.

use super::dialect;
use super::matcher::{At, Matcher, POSITION, UNFINISHED};
use crate::sys;
use std::ffi::c_int;

/// A capture for the result.
pub enum Text {
    /// This part of the subject.
    Bytes(At, usize),
    /// `()`: where it was, counted from one.
    Position(usize),
}

/// The capture of this index; without captures, the whole match is the first.
///
/// # Safety
/// After a match from `from` to `to`. May raise.
#[inline(always)]
pub unsafe fn text(matcher: &Matcher, index: usize, (from, to): (At, At)) -> Text {
    // SAFETY: by the caller; both are in the subject.
    unsafe {
        if index >= matcher.captured {
            if index != 0 {
                matcher.fail(dialect::BAD_REFERENCE, index + 1);
            }
            return Text::Bytes(from, to.offset_from_unsigned(from));
        }
        let capture = matcher.capture(index);
        match capture.length {
            UNFINISHED => matcher.fail(c"unfinished capture", 0),
            POSITION => Text::Position(capture.at.offset_from_unsigned(matcher.subject) + 1),
            length => Text::Bytes(capture.at, length as usize),
        }
    }
}

/// Pushes one.
///
/// # Safety
/// As [`text`], with a free slot.
#[inline(always)]
pub unsafe fn push(matcher: &Matcher, index: usize, found: (At, At)) {
    // SAFETY: by the caller.
    unsafe {
        match text(matcher, index, found) {
            Text::Bytes(at, length) => sys::push_bytes(matcher.l, at, length),
            Text::Position(n) => sys::lua_pushinteger(matcher.l, n as sys::lua_Integer),
        }
    }
}

/// Pushes all captures, or the whole match if it is given and there are none. How many they are.
///
/// # Safety
/// As [`text`].
#[inline(always)]
pub unsafe fn push_all(matcher: &Matcher, found: Option<(At, At)>) -> c_int {
    let count = match matcher.captured {
        0 => usize::from(found.is_some()),
        n => n,
    };
    // SAFETY: by the caller.
    unsafe {
        // A C function has room for the few that there usually are.
        if count > 4 {
            sys::luaL_checkstack(matcher.l, count as c_int, c"too many captures".as_ptr());
        }
        for index in 0..count {
            push(
                matcher,
                index,
                found.unwrap_or((matcher.subject, matcher.subject)),
            );
        }
    }
    count as c_int
}
