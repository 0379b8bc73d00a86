//! The points in time at which something is due in one resume of a coroutine.

use super::watched::Watched;
use super::watching::NEVER;
use std::cell::Cell;

/// Nanoseconds, as `Ticks`; or `NEVER`.
pub struct Times {
    pub kill_at: Cell<u64>,
    pub warn_at: Cell<u64>,
    /// From when the limits count.
    pub started: Cell<u64>,
}

impl Times {
    /// Nothing is due.
    #[inline]
    pub const fn never() -> Times {
        Times {
            kill_at: Cell::new(NEVER),
            warn_at: Cell::new(NEVER),
            started: Cell::new(0),
        }
    }

    /// Whatever comes first.
    #[inline]
    pub fn next(&self) -> u64 {
        self.kill_at.get().min(self.warn_at.get())
    }

    /// Both limits count from `from` on.
    #[inline]
    pub fn start(&self, limits: &Watched, from: u64) {
        self.started.set(from);
        self.kill_at.set(from.saturating_add(limits.kill));
        self.warn_at.set(from.saturating_add(limits.warn));
    }

    /// Nothing is due any more.
    pub fn stop(&self) {
        self.kill_at.set(NEVER);
        self.warn_at.set(NEVER);
    }
}
