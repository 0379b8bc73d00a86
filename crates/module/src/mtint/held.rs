//! Ids that stay known after their state is gone, since an interruptible object for them lives.
//!
//! The engine forgets an id when its state is gone. The objects of one OS thread can outlive the states of another, and as long as they
//! do, their id is known in the whole process: interrupting it says "gone" instead of raising. This is the list of those ids, with the
//! number of objects that each has. It is no table of states: it says nothing about any, and the engine is asked first.
//!
//! Sorted, so that looking up is a binary search; a few words per object, looked at when an object comes or goes, and when an id is gone.
//!
//! The lock is held for some hundred nanoseconds and never across a call of Lua's. It is a word of our own, not a `Mutex`, for
//! the sake of `fork`: a child must not inherit it locked, so the forking thread takes it before and both sides open it afterwards.
//! (`MutexGuard` has no way for that.)

use std::cell::UnsafeCell;
use std::hint;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

struct Held {
    locked: AtomicBool,
    /// Id and number of objects; sorted by id.
    ids: UnsafeCell<Vec<(u64, usize)>>,
}

// SAFETY: `ids` is used only while `locked` is held.
unsafe impl Sync for Held {}

static HELD: Held = Held {
    locked: AtomicBool::new(false),
    ids: UnsafeCell::new(Vec::new()),
};

extern "C" fn lock() {
    let mut spins = 0u32;
    // Acquire: what the last holder did is seen.
    while HELD.locked.swap(true, Ordering::Acquire) {
        spins += 1;
        if spins.is_multiple_of(64) {
            std::thread::yield_now(); // the holder may not be running
        } else {
            hint::spin_loop();
        }
    }
}

extern "C" fn unlock() {
    // Release: pairs with `lock`.
    HELD.locked.store(false, Ordering::Release);
}

fn locked<R>(f: impl FnOnce(&mut Vec<(u64, usize)>) -> R) -> R {
    lock();
    // SAFETY: locked, and `f` does not call back here.
    let result = f(unsafe { &mut *HELD.ids.get() });
    unlock();
    result
}

/// What [`hold`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Counted; [`release`] must follow.
    Done,
    /// Neither the engine nor another object knows the id.
    Unknown,
    /// No memory for another id.
    NoMemory,
}

/// Counts an object of `id`.
pub fn hold(id: u64) -> Hold {
    static FORK: Once = Once::new();
    // SAFETY: the three functions are async-signal-safe and live as long as the process (`build.rs`). Without memory for the
    // registration only a fork at an unlucky moment suffers.
    FORK.call_once(|| unsafe {
        libc::pthread_atfork(Some(lock), Some(unlock), Some(unlock));
    });
    locked(|ids| match ids.binary_search_by_key(&id, |e| e.0) {
        Ok(i) => {
            ids[i].1 += 1;
            Hold::Done
        }
        Err(_) if !leash::exists(id) => Hold::Unknown,
        Err(_) if ids.try_reserve(1).is_err() => Hold::NoMemory,
        Err(i) => {
            ids.insert(i, (id, 1));
            Hold::Done
        }
    })
}

/// An object of `id` is gone.
pub fn release(id: u64) {
    locked(|ids| {
        if let Ok(i) = ids.binary_search_by_key(&id, |e| e.0) {
            ids[i].1 -= 1;
            if ids[i].1 == 0 {
                ids.remove(i);
            }
        }
    });
}

/// Whether there is an object of `id`.
pub fn contains(id: u64) -> bool {
    locked(|ids| ids.binary_search_by_key(&id, |e| e.0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_not_held() {
        for id in [0, 1, 1 << 31, u64::MAX] {
            assert_eq!(hold(id), Hold::Unknown, "{id}");
            assert!(!contains(id), "{id}");
            release(id); // harmless
        }
    }
}
