//! A counter of the processor's as a clock, which an exact clock sets anew every few milliseconds.
//!
//! To read the exact clock takes 25 to 60 ns, most of it to wait for the time-stamp counter to be read in order; the counter as it is, 10 to 25. So
//! the counter tells how long ago the exact clock was last read, and that is never more than [`WORTH`]: then it is read again, and how fast the counter runs is computed from its last two
//! readings. So the error is what the two clocks drift apart in ten milliseconds, which is nanoseconds. A counter that ran at another rate all at once (a virtual machine that is moved to
//! another processor) would make this clock wrong by some milliseconds, until the next reading. One that stood still would stop it; but then it stops the kernel's as well, see [`crate::tsc`].
//!
//! A reader takes four words and must not mix two settings. They are guarded by a number that is odd while they are being changed: who has met a change, reads the exact clock.
//! So nobody ever waits: not a signal handler that has interrupted a change, nor the child of a fork in the middle of one.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Nanoseconds for which a setting holds.
pub(crate) const WORTH: u64 = 10_000_000;

/// Nanoseconds between two readings of the exact clock from which the rate is computed. In fewer, what a reading takes would show; in more, the machine may have been suspended.
const LEAST: u64 = 5_000_000;
pub(crate) const MOST: u64 = 1_000_000_000;

/// A scale is in nanoseconds for each count, times 2 to this power.
const SHIFT: u32 = 32;

/// Scales that a processor may have: from 8 counts in a nanosecond to 1 in 4.
const SLOWEST: u64 = 4 << SHIFT;
const FASTEST: u64 = (1 << SHIFT) / 8;

/// The clock.
pub(crate) struct Gauge {
    /// Odd while the words are being changed.
    pub(crate) sequence: AtomicU32,
    words: [AtomicU64; 4],
}

/// What it was last set to. A scale of 0: it is not known yet.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Setting {
    count: u64,
    nanos: u64,
    scale: u64,
    /// Counts for which it holds.
    holds: u64,
}

impl Setting {
    #[inline]
    fn at(self, count: u64) -> Option<u64> {
        let since = count.wrapping_sub(self.count);
        // Less than 2 to the power of 27, times less than 2 to the power of 35.
        (since < self.holds).then(|| self.nanos + ((since * self.scale) >> SHIFT))
    }

    /// What comes after it, if the exact clock says `nanos` at `count`; none: it goes on.
    fn next(self, count: u64, nanos: u64) -> Option<Setting> {
        let counts = count.wrapping_sub(self.count);
        // None: another thread has set it since this one looked.
        let passed = nanos.checked_sub(self.nanos)?;
        // Another has just set it, or there is nothing to compute a rate from yet.
        let is_soon = passed < LEAST && self.nanos != 0;
        if is_soon && (self.scale == 0 || counts < self.holds) {
            return None;
        }
        let scale = match passed {
            LEAST..=MOST => (passed << SHIFT).checked_div(counts).unwrap_or(0),
            _ => 0,
        };
        let (scale, holds) = match scale {
            FASTEST..=SLOWEST => (scale, (WORTH << SHIFT) / scale),
            _ => (0, 0),
        };
        Some(Setting {
            count,
            nanos,
            scale,
            holds,
        })
    }
}

impl Gauge {
    /// One that has not been set, over words that are all zero.
    pub(crate) const fn over(sequence: AtomicU32, words: [AtomicU64; 4]) -> Gauge {
        Gauge { sequence, words }
    }

    /// The nanoseconds of the exact clock when the counter was at `count`, if that is known.
    #[inline]
    pub(crate) fn at(&self, count: u64) -> Option<u64> {
        // Acquire: the words are those of this setting, or of a later one.
        let sequence = self.sequence.load(Ordering::Acquire);
        let setting = self.setting();
        // If any word is of a later one, then this fence and that of `set` have the second look see its number.
        fence(Ordering::Acquire);
        let is_whole =
            sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence;
        setting.at(count).filter(|_| is_whole)
    }

    /// The exact clock says `nanos` at `count`. If another sets it at this moment, that will do.
    pub(crate) fn set(&self, count: u64, nanos: u64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        let odd = sequence.wrapping_add(1);
        // Acquire: the words of who set it last.
        let claim = |of: &AtomicU32| {
            of.compare_exchange(sequence, odd, Ordering::Acquire, Ordering::Relaxed)
        };
        if !sequence.is_multiple_of(2) || claim(&self.sequence).is_err() {
            return;
        }
        fence(Ordering::Release); // see `at`
        if let Some(next) = self.setting().next(count, nanos) {
            let values = [next.count, next.nanos, next.scale, next.holds];
            for (word, value) in self.words.iter().zip(values) {
                word.store(value, Ordering::Relaxed);
            }
        }
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// In the child of a fork, where nobody is left who was setting it, and the exact clock may be another (`time_namespaces(7)`).
    pub(crate) fn forget(&self) {
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
        self.sequence.store(0, Ordering::Release);
    }

    #[inline]
    fn setting(&self) -> Setting {
        let [count, nanos, scale, holds] = [0, 1, 2, 3].map(|i| {
            let word: &AtomicU64 = &self.words[i];
            word.load(Ordering::Relaxed)
        });
        Setting {
            count,
            nanos,
            scale,
            holds,
        }
    }
}
