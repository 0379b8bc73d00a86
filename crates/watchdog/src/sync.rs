//! The atomics and cells that the lock-free parts are built from.
//!
//! The lock-free files (`slot`, `slab`, `sleep`, `schedule`, `list`, `latch`) name their types through `crate::sync`
//! and block only through `crate::os`. `tests/loom.rs` includes the very same files into a crate whose `sync` is
//! loom's and whose `os` is a simulated clock, so that what loom explores is what runs in production, line by line.
//!
//! What was rejected: a `cfg(loom)` switch here. It would make the statics of this crate impossible to build under loom
//! (loom's atomics have no constant constructor), it would need its own build of every dependency, and models that
//! need a special command are models that nobody runs.

pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use std::thread::yield_now;

/// How many slots the first chunk of a slab has; loom takes 1, so that two alarms already grow the slab.
pub(crate) const FIRST_CHUNK: u32 = 64;

/// Stores to a word that other threads change by read-modify-write.
///
/// A plain store here. Under loom a `swap`: loom forgets that nothing comes between the two halves of a read-modify-write
/// when the other store is a plain one, and would report orders of events that no machine can show.
pub(crate) fn overwrite(word: &AtomicU64, value: u64, ordering: Ordering) {
    word.store(value, ordering);
}

/// `std::cell::UnsafeCell` with loom's interface: access happens inside a closure, where loom can watch it.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
