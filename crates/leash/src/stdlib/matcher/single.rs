//! Items of a pattern that stand for a single character: what they are, how many follow each other, where the next one is.
//!
//! A loop for each kind of item, so that what an item is need not be asked for each character. What must be true: `p` is in the pattern, before its
//! end, behind which is a zero byte; and an end is what [`Matcher::item_end`] has found for it.

use super::{At, BLOCK, BYTES_A_STEP, Matcher, UNFINISHED};
use crate::stdlib::classes::{Meaning, meaning};
use crate::stdlib::dialect;
use std::ptr;

/// So many characters are looked at one by one before the C library is called.
const NEAR: usize = 12;

/// An item of a pattern, from and to. See [`Matcher::first`].
#[derive(Clone, Copy)]
pub struct First {
    item: At,
    end: At,
}

impl Matcher {
    /// Behind the single character that begins at `p`.
    #[inline(always)]
    pub(super) unsafe fn item_end(&mut self, p: At) -> At {
        // SAFETY: as `items`.
        unsafe {
            match *p {
                b'%' if self.is_end(p.add(1)) => self.fail(dialect::ENDS_WITH_ESCAPE, 0),
                b'%' => p.add(2),
                b'[' => {
                    let end = self.set_end(p.add(1));
                    if end.is_null() {
                        self.fail(dialect::NO_BRACKET, 0);
                    }
                    self.work(end.offset_from_unsigned(p) / 8);
                    end
                }
                _ => p.add(1),
            }
        }
    }

    /// Behind the set that begins before `p`; null: it does not end.
    #[inline(always)]
    unsafe fn set_end(&self, mut p: At) -> At {
        // SAFETY: as `items`.
        unsafe {
            if *p == b'^' {
                p = p.add(1);
            }
            // The first one is not the end, even if it is `]`.
            loop {
                if self.is_end(p) {
                    return ptr::null();
                }
                let c = *p;
                p = p.add(1);
                if c == b'%' && !self.is_end(p) {
                    p = p.add(1);
                }
                if *p == b']' {
                    return p.add(1);
                }
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn is_one(&self, c: u8, p: At, end: At) -> bool {
        // SAFETY: as `items`; the locale has not been changed since the last look up.
        unsafe {
            match *p {
                b'.' => true,
                b'%' => self.classes.matches(c, *p.add(1)),
                b'[' => self.is_in_set(c, p, end.sub(1)),
                literal => literal == c,
            }
        }
    }

    /// Whether `c` is in the set from `[` to `]`.
    #[inline(always)]
    pub(super) unsafe fn is_in_set(&self, c: u8, mut p: At, end: At) -> bool {
        // SAFETY: as `is_one`.
        unsafe {
            p = p.add(1);
            let yes = *p != b'^';
            if !yes {
                p = p.add(1);
            }
            while p < end {
                if *p == b'%' {
                    if self.classes.matches(c, *p.add(1)) {
                        return yes;
                    }
                    p = p.add(2);
                } else if *p.add(1) == b'-' && p.add(2) < end {
                    if (*p..=*p.add(2)).contains(&c) {
                        return yes;
                    }
                    p = p.add(3);
                } else {
                    if *p == c {
                        return yes;
                    }
                    p = p.add(1);
                }
            }
            !yes
        }
    }

    /// How many characters from `s` on are what is at `p`; or are not, unless `wanted`.
    #[inline(always)]
    pub(super) unsafe fn run(&mut self, s: At, p: At, end: At, wanted: bool) -> usize {
        // SAFETY: as `items`.
        unsafe {
            let all = self.subject_end.offset_from_unsigned(s);
            match *p {
                b'.' => {
                    if wanted {
                        all
                    } else {
                        0
                    }
                }
                b'[' => {
                    if let Some((few, yes)) = literals(p.add(1), end.sub(1)) {
                        return self.run_of(s, all, 1, |_, c| few.contains(&c) == (yes == wanted));
                    }
                    let long = end.offset_from_unsigned(p) / 8 + 1;
                    self.run_of(s, all, long, |this, c| {
                        this.is_in_set(c, p, end.sub(1)) == wanted
                    })
                }
                b'%' => match meaning(*p.add(1)) {
                    Meaning::Class(bit, yes) => self.run_of(s, all, 1, |this, c| {
                        this.classes.has(c, bit) == (yes == wanted)
                    }),
                    Meaning::Zero(yes) => {
                        self.run_of(s, all, 1, |_, c| (c == 0) == (yes == wanted))
                    }
                    Meaning::Itself => {
                        let literal = *p.add(1);
                        self.run_of(s, all, 1, |_, c| (c == literal) == wanted)
                    }
                },
                literal => self.run_of(s, all, 1, |_, c| (c == literal) == wanted),
            }
        }
    }

    /// The character that must come where the pattern goes on at `p`, or that does not match, if that is seen at once. To try takes two levels at most.
    #[inline(always)]
    pub(super) unsafe fn literal(&self, mut p: At) -> Option<u8> {
        // SAFETY: as `items`; at the end of the pattern there is a zero byte.
        unsafe {
            if *p == b')'
                && self.captured > 0
                && self.capture(self.captured - 1).length == UNFINISHED
            {
                p = p.add(1); // of that capture
            }
            let (c, end) = match *p {
                b'(' | b')' | b'$' | b'.' | b'[' => return None,
                _ if self.is_end(p) => return None,
                b'%' => match *p.add(1) {
                    c if c.is_ascii_punctuation() => (c, p.add(2)),
                    _ => return None,
                },
                c => (c, p.add(1)),
            };
            (!matches!(*end, b'*' | b'?' | b'-')).then_some(c)
        }
    }

    /// The last of the places from 0 to `n` behind `s` where that character is. In the subject, at whose end there may be one of these places.
    #[inline(always)]
    pub(super) unsafe fn last(&mut self, s: At, n: usize, c: u8) -> Option<usize> {
        // SAFETY: as `items`.
        unsafe {
            let mut left = (n + 1).min(self.subject_end.offset_from_unsigned(s));
            // Most runs are short, and a call takes longer than to look at a few.
            let few = left.saturating_sub(NEAR);
            while left > few {
                left -= 1;
                if *s.add(left) == c {
                    return Some(left);
                }
            }
            if left == 0 {
                return None;
            }
            self.last_of_many(s, left, c)
        }
    }

    /// The last of the first `left` places.
    #[inline(never)]
    unsafe fn last_of_many(&mut self, s: At, mut left: usize, c: u8) -> Option<usize> {
        // SAFETY: as `items`.
        unsafe {
            while left > 0 {
                let part = left.min(BLOCK);
                let from = s.add(left - part);
                self.work(part / BYTES_A_STEP);
                let found = libc::memrchr(from.cast(), c.into(), part)
                    .cast_const()
                    .cast::<u8>();
                if !found.is_null() {
                    return Some(found.offset_from_unsigned(s));
                }
                left -= part;
            }
            None
        }
    }

    /// The first item of the pattern at `p`, if it is a character that must match once: what is in front of a match can be passed over by it. What is
    /// wrong with the pattern behind it does not show until it has matched.
    ///
    /// # Safety
    /// As [`matches`](Matcher::matches).
    #[inline(always)]
    pub unsafe fn first(&self, mut p: At) -> Option<First> {
        // SAFETY: by the caller.
        unsafe {
            if *p == b'(' && *p.add(1) != b')' {
                p = p.add(1);
            }
            let end = match *p {
                b'.' | b'(' | b')' | b'$' => return None,
                _ if self.is_end(p) => return None,
                b'%' => match *p.add(1) {
                    b'b' => {
                        p = p.add(2);
                        let complete = !self.is_end(p) && !self.is_end(p.add(1));
                        let plain = !matches!(*p, b'.' | b'[' | b'%');
                        return (complete && plain).then(|| First {
                            item: p,
                            end: p.add(1),
                        });
                    }
                    b'f' | b'0'..=b'9' => return None,
                    _ if self.is_end(p.add(1)) => return None,
                    _ => p.add(2),
                },
                b'[' => self.set_end(p.add(1)),
                _ => p.add(1),
            };
            if end.is_null() || matches!(*end, b'*' | b'?' | b'-') {
                return None;
            }
            Some(First { item: p, end })
        }
    }

    /// Where this item matches next, at `s` or later, or the end of the subject.
    ///
    /// # Safety
    /// As [`matches`](Matcher::matches).
    #[inline(always)]
    pub unsafe fn pass(&mut self, s: At, first: First) -> At {
        // SAFETY: by the caller.
        unsafe { s.add(self.run(s, first.item, first.end, false)) }
    }

    /// A loop for one kind of item; each character takes so many steps.
    #[inline(always)]
    unsafe fn run_of(
        &mut self,
        s: At,
        all: usize,
        each: usize,
        is_one: impl Fn(&Matcher, u8) -> bool,
    ) -> usize {
        let block = BLOCK / each.min(BLOCK);
        let mut n = 0;
        loop {
            let from = n;
            let until = all.min(n + block);
            // SAFETY: below `all`, so in the subject.
            while n < until && is_one(self, unsafe { *s.add(n) }) {
                n += 1;
            }
            // SAFETY: as `items`.
            unsafe { self.work((n - from) * each / 2) };
            if n < until || n == all {
                return n;
            }
        }
    }
}

/// The characters of a set that is a few of them and nothing else, and whether these are meant or all others.
#[inline(always)]
unsafe fn literals(mut p: At, end: At) -> Option<([u8; 4], bool)> {
    // SAFETY: by the caller: a set, from behind `[` to `]`.
    unsafe {
        let yes = *p != b'^';
        if !yes {
            p = p.add(1);
        }
        let count = end.offset_from_unsigned(p);
        if count > 4 {
            return None;
        }
        let mut few = [*p; 4];
        for (i, place) in few.iter_mut().enumerate().take(count) {
            let c = *p.add(i);
            if c == b'%' || c == b'-' {
                return None;
            }
            *place = c;
        }
        Some((few, yes))
    }
}
