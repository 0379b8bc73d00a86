//! A thing that is done once, may fail, and may be undone by a fork.
//!
//! `std::sync::Once` does not fit: it cannot report an error and try again, and if a fork happens while another thread is
//! inside, the child's `Once` waits for that thread for ever. This one can be reset by the child.
//!
//! What must always be true: whoever sees `DONE` sees what was done; at most one thread at a time is doing it.
//!
//! The price: a thread that comes while another is doing it yields until that one has finished. It is paid for the start of a
//! thread or the installation of a handler, once in the life of a process, outside any signal handler.

use crate::sync::{AtomicU8, Ordering, yield_now};

const OPEN: u8 = 0;
const BUSY: u8 = 1;
const DONE: u8 = 2;

/// See the header.
pub(crate) struct Latch(AtomicU8);

impl Latch {
    /// A latch over a state that starts as `AtomicU8::new(0)`; an argument because loom's cannot be made in a constant.
    pub(crate) const fn over(state: AtomicU8) -> Latch {
        Latch(state)
    }

    /// Does `f` unless it has been done; if another thread is at it, waits for the outcome. `f` must not panic.
    pub(crate) fn get_or_try<E>(&self, mut f: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        loop {
            match self.try_now(&mut f) {
                Some(outcome) => return outcome,
                None => yield_now(),
            }
        }
    }

    /// The same without waiting: `None` if another thread is at it.
    pub(crate) fn try_now<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Option<Result<(), E>> {
        // Acquire: whoever sees DONE sees what was done, and who tries after a failure sees what was left.
        match self
            .0
            .compare_exchange(OPEN, BUSY, Ordering::Acquire, Ordering::Acquire)
        {
            Ok(_) => {
                let outcome = f();
                // Release: see above.
                self.0
                    .store(if outcome.is_ok() { DONE } else { OPEN }, Ordering::Release);
                Some(outcome)
            }
            Err(DONE) => Some(Ok(())),
            Err(_) => None,
        }
    }

    /// In the child of a fork(), on its only thread: it has not been done in this process.
    pub(crate) fn renew_in_child(&self) {
        // Relaxed: there is no other thread.
        self.0.store(OPEN, Ordering::Relaxed);
    }

    /// In the child of a fork(): if the thread that was doing it did not come along, it can be done again.
    pub(crate) fn renew_if_busy_in_child(&self) {
        // Relaxed: there is no other thread.
        let _ = self
            .0
            .compare_exchange(BUSY, OPEN, Ordering::Relaxed, Ordering::Relaxed);
    }
}
