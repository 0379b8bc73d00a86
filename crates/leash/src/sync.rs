//! The atomics that the lock-free parts are built from.
//!
//! `request` and `slab` name their types through `crate::sync`. `tests/loom.rs` includes the very same files into a crate whose `sync` is loom's, so
//! that what loom explores is what runs in production (as in `watchdog`, where the reasons are).

pub use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// How many records a chunk of a slab holds: the bits of its words. loom takes fewer.
pub const CHUNK: usize = 64;

/// Stores to a word that other threads change by read-modify-write: see `watchdog/src/sync.rs`, which has the same for the same reason.
pub fn overwrite(word: &AtomicU64, value: u64, ordering: Ordering) {
    word.store(value, ordering);
}
