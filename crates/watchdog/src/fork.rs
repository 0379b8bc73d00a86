//! What happens in the child of a fork.
//!
//! `fork` copies the memory and only one of the threads. What this crate remembers about threads is then wrong in the child: there
//! is no timer thread, and the only thread has another id. A handler registered with `pthread_atfork` puts it right before
//! `fork` returns: first the identity of the thread and its CPU clock, then the timer's list, then the functions that were given to [`on_child`], and last
//! the timer thread.
//!
//! What must always be true: the handler takes no lock that another thread of the parent might have held. All state here is
//! in atomics; the allocator and the threads library are made usable by the C library before handlers run.
//!
//! What could go wrong: two threads register the handlers at the same time. Waiting for one another is no way out (a
//! fork in between would leave the child waiting for ever), so both register, and the handlers find out that they run twice: before the
//! fork each sets a flag of the forking thread, and in the child the first one takes it.
//!
//! Not covered: children made by a bare `clone` or `_Fork`, which run no handlers, and `vfork`, whose child must only call
//! `exec`.

use crate::cpu;
use crate::list::List;
use crate::os;
use crate::poke;
use crate::sync::{AtomicPtr, AtomicU8, Ordering};
use crate::timer;
use crate::tsc;
use std::cell::Cell;
use std::io;
use std::ptr;
use std::time::Duration;

static REGISTERED: AtomicU8 = AtomicU8::new(0);
static CHILD: List = List::over(AtomicPtr::new(ptr::null_mut()));

thread_local! {
    /// This thread is about to fork, and no handler has run in the child yet.
    static FORKING: Cell<bool> = const { Cell::new(false) };
    /// Its CPU time then.
    static FORKED_AT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Registers a function to be run in the child of every `fork()`, on the forking thread.
///
/// It runs before `fork` returns, when [`Alarm`](crate::Alarm)s and [`poke::Thread::current`] work again. The
/// functions run in the order in which they were registered; registering one again does nothing.
///
/// The other threads of the parent are not there, and may have left any lock locked: use atomics. A panic ends the child.
///
/// # Panics
///
/// If the process has no memory for another fork handler.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static GENERATION: AtomicU32 = AtomicU32::new(0);
///
/// watchdog::fork::on_child(|| {
///     GENERATION.fetch_add(1, Ordering::Relaxed);
/// });
/// ```
pub fn on_child(f: fn()) {
    if let Err(e) = register() {
        panic!("cannot register for forks: {e}");
    }
    CHILD.add(f);
}

/// Registers the handlers, once.
pub(crate) fn register() -> io::Result<()> {
    // Acquire and Release: whoever sees the flag forks with the handlers in place.
    if REGISTERED.load(Ordering::Acquire) == 0 {
        os::at_fork(before, in_child)?;
        REGISTERED.store(1, Ordering::Release);
    }
    Ok(())
}

extern "C" fn before() {
    FORKING.set(true);
    FORKED_AT.set(cpu::own_time());
}

extern "C" fn in_child() {
    if FORKING.replace(false) {
        poke::renew_in_child();
        tsc::renew_in_child();
        cpu::renew_in_child(FORKED_AT.get());
        let is_needed = timer::renew_in_child();
        CHILD.call();
        // Last, for it looks at what those functions put right.
        if is_needed {
            timer::start_in_child();
        }
    }
}
