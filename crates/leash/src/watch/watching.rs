//! What the timer thread knows of the watched coroutines of a state that are being resumed.
//!
//! The owner stores the earliest point in time of all open frames at every resume, by a plain store without a fence. Whether the timer thread has to be told of it is
//! a matter of [`crate::record::Lookout`].

use super::sampling::Sampling;
use std::sync::atomic::{AtomicU64, Ordering};

/// No point in time.
pub use crate::record::NEVER;

/// See the module's header.
pub struct Watching {
    /// The earliest point in time of all open frames. Written by the owner at every resume.
    until: AtomicU64,
    /// Those that are resumed by others.
    pub sampling: Sampling,
}

impl Default for Watching {
    fn default() -> Self {
        Watching {
            until: AtomicU64::new(NEVER),
            sampling: Sampling::default(),
        }
    }
}

impl Watching {
    /// Back to the start, for another state.
    pub fn reset(&self) {
        self.set(NEVER);
        self.sampling.reset();
    }

    /// Owner: sets the earliest point in time.
    #[inline]
    pub fn set(&self, until: u64) {
        // Relaxed: the timer thread may see it late, and looks again.
        self.until.store(until, Ordering::Relaxed);
    }

    /// The earliest point in time.
    pub fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }
}
