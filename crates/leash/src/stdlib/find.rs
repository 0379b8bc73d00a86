//! `string.find` and `string.match`.
//!
//! A pattern without special characters is searched for as it is, by `memchr` and `memcmp` as in the originals: that begins at once. Where
//! many places look alike it is slow, and for subjects that nearly match everywhere it is quadratic; so after a few of them it goes on by the crate `memchr`, which takes
//! some time to prepare for a text and is linear then. Both look up in between.

use super::matcher::{At, BYTES_A_STEP, Matcher};
use super::{captures, dialect, steps};
use crate::sys::{self, lua_Integer, lua_State};
use memchr::memmem::Finder;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::slice;

/// Bytes that are searched, compared or looked through at a time.
const WINDOW: usize = 1 << 16;

/// After so many places that were none, if there are so many left, a text that is not longer than this is searched for by a [`Finder`].
const MISSES: usize = 16;
const MANY: usize = 1024;
const LONGEST: usize = WINDOW;

/// `string.find`
pub unsafe extern "C-unwind" fn find(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe { search::<true>(l) }
}

/// `string.match`
pub unsafe extern "C-unwind" fn find_match(l: *mut lua_State) -> c_int {
    // SAFETY: as `find`.
    unsafe { search::<false>(l) }
}

#[inline(always)]
unsafe fn search<const FIND: bool>(l: *mut lua_State) -> c_int {
    // SAFETY: by the callers. The strings are arguments, which stay on the stack.
    unsafe {
        let (mut length, mut pattern_length) = (0, 0);
        let s: At = sys::luaL_checklstring(l, 1, &mut length).cast();
        let mut p: At = sys::luaL_checklstring(l, 2, &mut pattern_length).cast();
        let (mut start, mut wants_plain) = (0, false);
        if sys::lua_gettop(l) > 2 {
            let Some(given) = dialect::start(l, 3, length) else {
                sys::lua_pushnil(l);
                return 1;
            };
            start = given;
            wants_plain = sys::lua_toboolean(l, 4) != 0;
        }
        if FIND && (wants_plain || is_plain(l, p, pattern_length)) {
            match plain(l, (s.add(start), length - start), (p, pattern_length)) {
                Some(offset) => {
                    let from = start + offset;
                    sys::lua_pushinteger(l, (from + 1) as lua_Integer);
                    sys::lua_pushinteger(l, (from + pattern_length) as lua_Integer);
                    return 2;
                }
                None => {
                    sys::lua_pushnil(l);
                    return 1;
                }
            }
        }
        let end = p.add(pattern_length);
        let anchored = *p == b'^';
        if anchored {
            p = p.add(1);
        }
        let mut matcher = Matcher::new(l, (s, s.add(length)), end);
        let first = if anchored { None } else { matcher.first(p) };
        let mut from = s.add(start);
        loop {
            if let Some(first) = first {
                from = matcher.pass(from, first);
            }
            let to = matcher.matches(from, p);
            if !to.is_null() {
                if FIND {
                    sys::lua_pushinteger(l, (from.offset_from_unsigned(s) + 1) as lua_Integer);
                    sys::lua_pushinteger(l, to.offset_from_unsigned(s) as lua_Integer);
                    return captures::push_all(&matcher, None) + 2;
                }
                return captures::push_all(&matcher, Some((from, to)));
            }
            if anchored || from == matcher.subject_end {
                break;
            }
            from = from.add(1);
        }
        sys::lua_pushnil(l);
    }
    1
}

/// The characters that make a pattern of a string.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let all = b"^$*+?.([%-";
    let mut i = 0;
    while i < all.len() {
        table[all[i] as usize] = true;
        i += 1;
    }
    table
};

/// Whether a pattern is nothing but text.
///
/// # Safety
/// In a C function that Lua has called, in `l`; the pattern is a string on its stack.
pub unsafe fn is_plain(l: *mut lua_State, p: At, length: usize) -> bool {
    let mut i = 0;
    while i < length {
        // SAFETY: in the pattern.
        let c = unsafe { *p.add(i) };
        if SPECIAL[usize::from(c)] {
            return false;
        }
        // 5.1 looks by `strpbrk`, and no further. (LuaJIT looks at the whole.)
        if cfg!(feature = "lua51") && c == 0 {
            return true;
        }
        i += 1;
        if i.is_multiple_of(WINDOW) {
            // SAFETY: by the caller: in a C function.
            unsafe { steps::look_up(l) };
        }
    }
    true
}

/// Where the needle is in the subject.
unsafe fn plain(
    l: *mut lua_State,
    (mut s, length): (At, usize),
    (needle, needle_length): (At, usize),
) -> Option<usize> {
    if needle_length == 0 {
        return Some(0);
    }
    let from = s;
    // Places where it may begin.
    let mut left = (length + 1).checked_sub(needle_length)?;
    let mut steps_left = steps::INTERVAL;
    let mut misses = 0;
    while left > 0 {
        if misses > MISSES && left > MANY && needle_length <= LONGEST {
            // SAFETY: by the caller; what is left, and the text, are in the two strings.
            let at = unsafe { by_finder(l, (s, left), (needle, needle_length)) };
            return at.map(|offset| s.wrapping_add(offset).addr() - from.addr());
        }
        misses += 1;
        let window = left.min(WINDOW);
        // SAFETY: all in the two strings, by the arithmetic above; in a C function.
        unsafe {
            let found: At = libc::memchr(s.cast(), c_int::from(*needle), window).cast();
            let passed = match found.is_null() {
                true => window,
                false => {
                    if needle_length == 1
                        || *found.add(1) == *needle.add(1)
                            && is_equal(l, found.add(2), needle.add(2), needle_length - 2)
                    {
                        return Some(found.offset_from_unsigned(from));
                    }
                    found.offset_from_unsigned(s) + 1
                }
            };
            s = s.add(passed);
            left -= passed;
            // Most comparisons end at once, but not those that somebody has prepared.
            steps_left -= (1 + (passed + needle_length.min(WINDOW)) / BYTES_A_STEP) as isize;
            if steps_left < 0 {
                steps_left = steps::INTERVAL;
                steps::look_up(l);
            }
        }
    }
    None
}

/// The same for the places that are left. The finder borrows the text and owns nothing; one that does has a destructor, so this one is not to be dropped.
#[inline(never)]
unsafe fn by_finder(
    l: *mut lua_State,
    (s, places): (At, usize),
    (needle, needle_length): (At, usize),
) -> Option<usize> {
    // SAFETY: by the caller: the strings are alive, and nobody writes to a string. All below is in them, by the arithmetic; in a C function.
    unsafe {
        let finder = ManuallyDrop::new(Finder::new(slice::from_raw_parts(needle, needle_length)));
        let mut passed = 0;
        while passed < places {
            let window = (places - passed).min(WINDOW);
            let text = slice::from_raw_parts(s.add(passed), window + needle_length - 1);
            if let Some(at) = finder.find(text) {
                return Some(passed + at);
            }
            passed += window;
            steps::look_up(l);
        }
    }
    None
}

#[inline(always)]
unsafe fn is_equal(l: *mut lua_State, mut a: At, mut b: At, mut length: usize) -> bool {
    // SAFETY: by the caller: so many bytes can be read at both; in a C function.
    unsafe {
        while length > WINDOW {
            if libc::memcmp(a.cast(), b.cast(), WINDOW) != 0 {
                return false;
            }
            steps::look_up(l);
            (a, b, length) = (a.add(WINDOW), b.add(WINDOW), length - WINDOW);
        }
        libc::memcmp(a.cast(), b.cast(), length) == 0
    }
}
