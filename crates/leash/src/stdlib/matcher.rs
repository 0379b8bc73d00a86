//! The matcher: Lua's patterns, by backtracking, as the reference manual describes them and the originals do it.
//!
//! It works on pointers into the subject and the pattern. Both are strings on Lua's stack (or upvalues), so they stay where they are; and Lua
//! ends every string with a zero byte, so the byte at the end can be read. A null pointer is "no match".
//!
//! **Recursion** is counted as the originals count it, since they give up at a depth ([`dialect`]): a level for each capture, each
//! item that repeats, each `?` that is tried. 5.1 does not count, and crashes when the stack is used up; there, and in the one other case where an
//! original has lost count, room on the stack is looked for, and what does not fit is too complex.
//!
//! **Steps**: one for each item that is tried, and more where an item takes long: sets, runs, balanced text, back references.
//!
//! A run of characters (`%a*`) is measured by a loop of its own for each kind of item. The originals ask anew what the item is for each
//! character; that is what pays for counting steps. And where a literal follows what repeats (`.*;`), only places where that is are tried. (Not when no level is left: to try
//! is an error then.)

mod single;

use super::classes::Classes;
use super::dialect::{self, LEVELS_ARE_LIMITED, MISS_RECURSES, MOST_CAPTURES, MOST_LEVELS};
use super::steps;
use crate::home;
use crate::sys::{self, lua_State};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// A place in the subject or in the pattern.
pub type At = *const u8;

const NO_MATCH: At = ptr::null();

/// The length of a capture that is still open.
pub const UNFINISHED: isize = -1;
/// The length of `()`.
pub const POSITION: isize = -2;

/// So many bytes are compared, or copied, in a step.
pub const BYTES_A_STEP: usize = 32;

/// Characters between two counts, where much is looked at.
const BLOCK: usize = 4096;

/// Stack that is left when a pattern is too complex where levels are not limited.
const RESERVE: usize = home::STACK_RESERVE;

/// Levels that are granted at once there. Each takes a few hundred bytes.
const GRANT: i32 = 200;

/// Where the stack is not known, so many levels are all.
const MOST_LEVELS_UNKNOWN: i32 = 4000;

/// A part of the subject.
#[derive(Clone, Copy)]
pub struct Capture {
    /// Where it begins.
    pub at: At,
    /// How long it is, or [`UNFINISHED`] or [`POSITION`].
    pub length: isize,
}

/// The state of one match.
pub struct Matcher {
    /// The coroutine that runs us.
    pub l: *mut lua_State,
    /// The subject.
    pub subject: At,
    /// Where it ends.
    pub subject_end: At,
    pattern_end: At,
    classes: Classes,
    steps_left: isize,
    /// Levels of recursion that are left.
    pub levels: i32,
    granted: i32,
    /// How many captures there are.
    pub captured: usize,
    captures: [MaybeUninit<Capture>; MOST_CAPTURES],
    /// To be called with the levels that are left before an error is raised in the pattern.
    pub before_error: Option<unsafe fn(*mut lua_State, i32)>,
}

impl Matcher {
    /// For a subject and a pattern, each from and to.
    #[inline(always)]
    pub fn new(l: *mut lua_State, subject: (At, At), pattern_end: At) -> Matcher {
        Matcher {
            l,
            subject: subject.0,
            subject_end: subject.1,
            pattern_end,
            classes: Classes::now(),
            steps_left: steps::INTERVAL,
            levels: MOST_LEVELS,
            granted: MOST_LEVELS,
            captured: 0,
            captures: [const { MaybeUninit::uninit() }; MOST_CAPTURES],
            before_error: None,
        }
    }

    /// Matches the pattern at `p` with the subject at `s`. Where the match ends, or null.
    ///
    /// # Safety
    /// In a C function that Lua has called, in `l`, with two free slots. `s` and `p` are in the strings that the matcher was made for, which
    /// stay alive. May raise and may run code of the script: nothing that owns anything is alive.
    #[inline(always)]
    pub unsafe fn matches(&mut self, s: At, p: At) -> At {
        self.captured = 0;
        // SAFETY: by the caller.
        unsafe { self.level_inlined(s, p) }
    }

    /// The script's code may have run: what depends on the locale is looked up again.
    #[inline(always)]
    pub fn renew(&mut self) {
        self.classes = Classes::now();
    }

    /// Counts work.
    ///
    /// # Safety
    /// As [`matches`](Matcher::matches).
    #[inline(always)]
    pub unsafe fn work(&mut self, steps: usize) {
        self.steps_left -= steps as isize;
        if self.steps_left < 0 {
            // SAFETY: by the caller.
            unsafe { self.look_up() };
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn look_up(&mut self) {
        self.steps_left = steps::INTERVAL;
        // SAFETY: by the caller.
        unsafe { steps::look_up(self.l) };
        self.renew();
    }

    /// Raises an error. Does not return.
    ///
    /// # Safety
    /// As [`matches`](Matcher::matches); the format takes the number, or nothing.
    #[cold]
    #[inline(never)]
    pub unsafe fn fail(&self, format: &CStr, number: usize) -> ! {
        // SAFETY: by the caller.
        unsafe {
            if let Some(f) = self.before_error {
                f(self.l, self.levels);
            }
            sys::luaL_error(self.l, format.as_ptr(), number as std::ffi::c_int);
        }
        unreachable!("luaL_error does not return")
    }

    /// A capture that has been made.
    ///
    /// # Safety
    /// `index < captured`.
    #[inline(always)]
    pub unsafe fn capture(&self, index: usize) -> Capture {
        // SAFETY: those below `captured` have been written.
        unsafe { self.captures.get_unchecked(index).assume_init() }
    }

    #[inline(always)]
    unsafe fn set_capture(&mut self, index: usize, capture: Capture) {
        // SAFETY: by the caller, `index` is below MOST_CAPTURES.
        unsafe { self.captures.get_unchecked_mut(index).write(capture) };
    }

    /// The end of the pattern.
    #[inline(always)]
    unsafe fn is_end(&self, p: At) -> bool {
        if dialect::ZERO_ENDS_PATTERN {
            // SAFETY: `p` is in the pattern or at its end.
            unsafe { *p == 0 }
        } else {
            p == self.pattern_end
        }
    }

    // --- levels ---

    /// One level of recursion: the pattern from `p` on.
    unsafe fn level(&mut self, s: At, p: At) -> At {
        // SAFETY: by the caller.
        unsafe { self.level_inlined(s, p) }
    }

    /// The same, for the outermost level: short matches are mostly calls.
    ///
    /// # Safety
    /// As [`matches`](Matcher::matches).
    #[inline(always)]
    unsafe fn level_inlined(&mut self, s: At, p: At) -> At {
        // SAFETY: by the caller of `matches`, like all below.
        unsafe {
            if self.levels <= 0 {
                self.no_level_left();
            }
            self.levels -= 1;
            let end = self.items(s, p);
            self.levels += 1;
            end
        }
    }

    /// Grants more levels, or raises.
    #[cold]
    #[inline(never)]
    unsafe fn no_level_left(&mut self) {
        // Below zero is an iterator of 5.3 that was used again after it had failed here: it has lost count.
        let lost_count = self.levels < 0;
        if LEVELS_ARE_LIMITED && !lost_count {
            self.levels = -1;
        } else if home::stack_room()
            .map_or(self.granted < MOST_LEVELS_UNKNOWN, |room| room > RESERVE)
        {
            if !lost_count {
                self.levels += GRANT;
            }
            self.granted += GRANT;
            return;
        }
        // SAFETY: as `level`.
        unsafe { self.fail(c"pattern too complex", 0) };
    }

    #[inline(always)]
    unsafe fn items(&mut self, mut s: At, mut p: At) -> At {
        // SAFETY: `p` is in the pattern or at its end, behind which is a zero byte; `s` likewise in the subject.
        unsafe {
            loop {
                self.work(1);
                if self.is_end(p) {
                    return s;
                }
                match *p {
                    b'(' if *p.add(1) == b')' => return self.open(s, p.add(2), POSITION),
                    b'(' => return self.open(s, p.add(1), UNFINISHED),
                    b')' => return self.close(s, p.add(1)),
                    b'$' if self.is_end(p.add(1)) => {
                        return if s == self.subject_end { s } else { NO_MATCH };
                    }
                    b'%' => match *p.add(1) {
                        b'b' => {
                            s = self.balanced(s, p.add(2));
                            if s.is_null() {
                                return NO_MATCH;
                            }
                            p = p.add(4);
                            continue;
                        }
                        b'f' => {
                            p = self.frontier(s, p.add(2));
                            if p.is_null() {
                                return NO_MATCH;
                            }
                            continue;
                        }
                        digit @ b'0'..=b'9' => {
                            s = self.back_reference(s, digit);
                            if s.is_null() {
                                return NO_MATCH;
                            }
                            p = p.add(2);
                            continue;
                        }
                        _ => {}
                    },
                    _ => {}
                }
                // A single character, and how often.
                let suffix = self.item_end(p);
                let once = s < self.subject_end && self.is_one(*s, p, suffix);
                match *suffix {
                    b'?' => {
                        if once {
                            let end = self.level(s.add(1), suffix.add(1));
                            if !end.is_null() {
                                return end;
                            }
                        }
                        p = suffix.add(1);
                    }
                    b'+' if once => return self.as_many(s.add(1), p, suffix, 0),
                    b'+' => return NO_MATCH,
                    b'*' if once => return self.as_many(s.add(1), p, suffix, 1),
                    b'*' if MISS_RECURSES => return self.level(s, suffix.add(1)),
                    b'-' if once || MISS_RECURSES => return self.as_few(s, p, suffix),
                    b'*' | b'-' => p = suffix.add(1),
                    _ => {
                        if !once {
                            return NO_MATCH;
                        }
                        s = s.add(1);
                        p = suffix;
                    }
                }
            }
        }
    }

    // --- repetition ---

    /// `x*` and `x+`, when one `x` before `s` has been seen: the longest first. It may give up so many characters before `s`, too.
    #[inline(never)]
    unsafe fn as_many(&mut self, s: At, p: At, suffix: At, before: usize) -> At {
        // SAFETY: as `items`.
        unsafe {
            let mut n = self.run(s, p, suffix, true) + before;
            let s = s.sub(before);
            let next = self.literal(suffix.add(1));
            loop {
                if let Some(c) = next
                    && *s.add(n) != c
                    && self.levels > 1
                {
                    match self.last(s, n, c) {
                        Some(at) => n = at,
                        None => return NO_MATCH,
                    }
                }
                let end = self.level(s.add(n), suffix.add(1));
                if !end.is_null() {
                    return end;
                }
                if n == 0 {
                    return NO_MATCH;
                }
                n -= 1;
            }
        }
    }

    /// `x-`: the shortest first.
    #[inline(never)]
    unsafe fn as_few(&mut self, mut s: At, p: At, suffix: At) -> At {
        // SAFETY: as `items`.
        unsafe {
            let next = self.literal(suffix.add(1));
            loop {
                if next.is_some_and(|c| *s != c) && self.levels > 1 {
                    self.work(1);
                } else {
                    let end = self.level(s, suffix.add(1));
                    if !end.is_null() {
                        return end;
                    }
                }
                if s >= self.subject_end || !self.is_one(*s, p, suffix) {
                    return NO_MATCH;
                }
                if *p == b'[' {
                    self.work(suffix.offset_from_unsigned(p) / 8);
                }
                s = s.add(1);
            }
        }
    }

    // --- what is no single character ---

    #[inline(never)]
    unsafe fn open(&mut self, s: At, p: At, length: isize) -> At {
        // SAFETY: as `items`.
        unsafe {
            if self.captured >= MOST_CAPTURES {
                self.fail(c"too many captures", 0);
            }
            self.set_capture(self.captured, Capture { at: s, length });
            self.captured += 1;
            let end = self.level(s, p);
            if end.is_null() {
                self.captured -= 1;
            }
            end
        }
    }

    #[inline(never)]
    unsafe fn close(&mut self, s: At, p: At) -> At {
        // SAFETY: as `items`; the index is below `captured`.
        unsafe {
            let mut index = self.captured;
            loop {
                if index == 0 {
                    self.fail(c"invalid pattern capture", 0);
                }
                index -= 1;
                if self.capture(index).length == UNFINISHED {
                    break;
                }
            }
            let at = self.capture(index).at;
            let length = s.offset_from(at);
            self.set_capture(index, Capture { at, length });
            let end = self.level(s, p);
            if end.is_null() {
                let length = UNFINISHED;
                self.set_capture(index, Capture { at, length });
            }
            end
        }
    }

    /// `%1`: what a capture has matched, once more.
    unsafe fn back_reference(&mut self, s: At, digit: u8) -> At {
        // SAFETY: as `items`.
        unsafe {
            let index = usize::from(digit.wrapping_sub(b'1'));
            if index >= self.captured || self.capture(index).length == UNFINISHED {
                self.fail(dialect::BAD_BACK_REFERENCE, usize::from(digit - b'0'));
            }
            let Capture { at, length } = self.capture(index);
            let length = length as usize; // of a position: more than there is
            if self.subject_end.offset_from_unsigned(s) < length {
                return NO_MATCH;
            }
            self.work(length / BYTES_A_STEP);
            match libc::memcmp(at.cast(), s.cast(), length) {
                0 => s.add(length),
                _ => NO_MATCH,
            }
        }
    }

    /// `%bxy`: behind the `y` that belongs to the `x` at `s`.
    unsafe fn balanced(&mut self, mut s: At, p: At) -> At {
        // SAFETY: as `items`.
        unsafe {
            if self.is_end(p) || self.is_end(p.add(1)) {
                self.fail(dialect::NO_BALANCE, 0);
            }
            let (opening, closing) = (*p, *p.add(1));
            if *s != opening || s >= self.subject_end {
                return NO_MATCH;
            }
            let mut open = 1usize;
            s = s.add(1);
            while s < self.subject_end {
                let from = s;
                let end = s.add(BLOCK.min(self.subject_end.offset_from_unsigned(s)));
                while s < end {
                    let c = *s;
                    s = s.add(1);
                    if c == closing {
                        open -= 1;
                        if open == 0 {
                            self.work(s.offset_from_unsigned(from) / 2);
                            return s;
                        }
                    } else if c == opening {
                        open += 1;
                    }
                }
                self.work(s.offset_from_unsigned(from) / 2);
            }
            NO_MATCH
        }
    }

    /// `%f[set]`: behind the set if the subject goes into it at `s`, else null.
    unsafe fn frontier(&mut self, s: At, p: At) -> At {
        // SAFETY: as `items`.
        unsafe {
            if *p != b'[' {
                self.fail(dialect::NO_FRONTIER, 0);
            }
            let end = self.item_end(p);
            let before = if s == self.subject { 0 } else { *s.sub(1) };
            if !self.is_in_set(before, p, end.sub(1)) && self.is_in_set(*s, p, end.sub(1)) {
                end
            } else {
                ptr::null()
            }
        }
    }
}
