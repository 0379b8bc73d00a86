//! The request: what somebody wants from a state, handed over to the thread that runs it.
//!
//! One word for each state, `generation << 9 | flags`. Any thread may add a flag; only the owner thread takes flags away, when
//! the boundary (`leash.call`, [`crate::Vm::call`]) has control again or when the hook finds that there is nothing to do. The
//! request carries no data: [`CHECK`] says "look at your limits", and the owner thread looks. So a request that is late, doubled
//! or spurious is harmless: the look finds nothing due.
//!
//! The generation is that of the state, not of the call: a handle to a state that has been closed, whose record serves another
//! state by now, cannot reach that one. 55 bits count further than a process lives.

use crate::sync::{AtomicU64, Ordering, overwrite};

/// A limit may have been reached: look.
pub const CHECK: u64 = 1;
/// Stop, as if by Ctrl-C.
pub const INTERRUPT: u64 = 2;
/// Stop.
pub const KILL: u64 = 4;
/// A coroutine of the state has been interrupted by its id: look at the targets.
pub const TARGETS: u64 = 16;
/// A watched coroutine is late: look at the open frames.
pub const WATCH: u64 = 32;
/// LuaJIT: take a stale bit away. Answered by the signal handler itself.
pub const SWEEP: u64 = 64;
/// Raise an error, once, in whatever runs.
pub const BREAK: u64 = 128;
/// See that the instructions are still being counted. Answered by the signal handler itself.
pub const RECOUNT: u64 = 8;

/// Look which of the coroutines that must yield in time run. Answered by the signal handler itself.
pub const SAMPLE: u64 = 256;

const FLAGS: u64 = 0x1ff;
const GENERATION: u64 = FLAGS + 1;

/// The word.
#[derive(Default)]
pub struct Request(AtomicU64);

impl Request {
    /// The current generation.
    pub fn generation(&self) -> u64 {
        // SeqCst: see `flags`. (The owner thread, which alone changes it, would be content with Relaxed.)
        self.0.load(Ordering::SeqCst) / GENERATION
    }

    /// Starts a new generation with no flags. Requests of older ones fail from now on.
    pub fn renew(&self) {
        let next = self.generation().wrapping_add(1).wrapping_mul(GENERATION);
        // SeqCst: see `flags`.
        overwrite(&self.0, next, Ordering::SeqCst);
    }

    /// Starts a new generation with no flags, the lowest bits of which are `low`.
    pub fn renew_with(&self, bits: u32, low: u64) {
        let next = (self.generation() >> bits).wrapping_add(1) << bits | low;
        // It comes round after as many ids as the bits above `low` count, and may then meet an old one with the same `low`.
        overwrite(&self.0, next.wrapping_mul(GENERATION), Ordering::SeqCst);
    }

    /// Adds `flags` if the generation is still `generation`; false if it is not.
    pub fn ask(&self, generation: u64, flags: u64) -> bool {
        // SeqCst: see `flags`.
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |w| {
                (w / GENERATION == generation).then_some(w | flags)
            })
            .is_ok()
    }

    /// What is asked for now; zero: nothing.
    ///
    /// SeqCst, like all writes of the word: between arming the alarm and looking at the flags on the owner's side, and setting
    /// a flag and arming the alarm on the asker's, one of the two must see the other ([`crate::vm`], "No request is lost").
    /// The signal handler and the hook would be content with Relaxed.
    pub fn flags(&self) -> u64 {
        self.0.load(Ordering::SeqCst) & FLAGS
    }

    /// Takes `flags` away, and returns what was asked for until now.
    ///
    /// Where none of them is there, reading is enough, and takes a quarter of the time: what is asked from then on stays asked, as it would after
    /// the other.
    pub fn answer(&self, flags: u64) -> u64 {
        let now = self.flags();
        if now & flags == 0 {
            return now;
        }
        self.0.fetch_and(!flags, Ordering::SeqCst) & FLAGS
    }
}
