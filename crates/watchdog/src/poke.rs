//! Poking a thread: making it run a function of ours, now, wherever it is.
//!
//! A thread is poked by a signal, SIGURG, whose handler calls the functions that were given to [`on_poke`] on the poked
//! thread. SIGURG for the reasons of the Go runtime, which uses it too: nobody means anything by it, it is ignored where no handler is
//! installed, debuggers let it pass, C libraries do not use it, and it exists on every Unix. The action is installed by
//! `signal-hook-registry`, which calls handlers that were there before; the kernel restarts system calls that it interrupted, as far as
//! it does that, except after [`Thread::poke_out_of_call`].
//!
//! What must always be true:
//!
//! 1. A poke may come at any time and for no reason: other programs may send SIGURG, thread ids are reused. Handlers
//!    look for what they are to do.
//! 2. Nothing in the handler's path allocates, locks or touches a thread-local: in a library that was opened late, a thread's
//!    first access to one may call `malloc`. So [`Thread::is_current`] asks the kernel.
//! 3. A thread that calls [`Thread::current`] can be poked from then on: the signal is unblocked. (The host
//!    may block it again; then pokes wait.)
//!
//! What could go wrong: the id in the thread-local is wrong after a fork. The fork handler clears it; and where that could not be
//! registered, nothing is kept.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use watchdog::poke::{self, Thread};
//!
//! static EXPECTED: AtomicU64 = AtomicU64::new(0);
//! static ARRIVED: AtomicU64 = AtomicU64::new(0);
//!
//! fn handler() {
//!     // In signal context: atomics and little else.
//!     if Thread::from_bits(EXPECTED.load(Ordering::Relaxed)).is_some_and(|t| t.is_current()) {
//!         ARRIVED.fetch_add(1, Ordering::Relaxed);
//!     }
//! }
//!
//! # fn main() -> Result<(), poke::PokeError> {
//! // SAFETY: the handler makes one system call and uses atomics.
//! unsafe { poke::on_poke(handler)? };
//! let me = Thread::current();
//! EXPECTED.store(me.to_bits(), Ordering::Relaxed);
//! assert!(me.poke());
//! while ARRIVED.load(Ordering::Relaxed) == 0 {}
//! # Ok(())
//! # }
//! ```

use crate::fork;
use crate::latch::Latch;
use crate::list::List;
use crate::os;
use crate::sync::{AtomicPtr, AtomicU8, Ordering};
use std::cell::Cell;
use std::io;
use std::num::NonZeroU64;
use std::ptr;

static HANDLERS: List = List::over(AtomicPtr::new(ptr::null_mut()));
static INSTALLED: Latch = Latch::over(AtomicU8::new(0));
/// The next signal of the process ends system calls ([`Thread::poke_out_of_call`]).
static ENDS_CALLS: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// The id of this thread; 0: not asked yet, or forked since.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Why [`on_poke`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PokeError {
    /// The system refuses a handler for the signal.
    #[error("cannot install the handler of SIGURG: {0}")]
    Signal(#[source] io::Error),
    /// The system has no memory to register what has to happen after a fork.
    #[error("cannot register for forks: {0}")]
    Fork(#[source] io::Error),
}

/// Has `handler` called, in signal context, on every thread that receives SIGURG.
///
/// The first call installs the action of the process; handlers of SIGURG that were there before are still called. Each
/// function is called once per signal, in the order of registration; registering one again does nothing. There is no limit
/// on how many there are, and no way to remove one. `errno` is kept.
///
/// Call it once early, before the process forks: the first call takes the lock of `signal-hook-registry`.
///
/// # Errors
///
/// [`PokeError`], if the system does not let the action be installed. A later call tries again.
///
/// # Safety
///
/// `handler` must be async-signal-safe: no allocation, no lock, no lazily initialised thread-local, no panic. It may be
/// called at any time, on any thread, also on one that was never poked.
pub unsafe fn on_poke(handler: fn()) -> Result<(), PokeError> {
    fork::register().map_err(PokeError::Fork)?;
    INSTALLED.get_or_try(|| {
        // SAFETY: `arrived` calls async-signal-safe functions only: the callers of this function have promised it.
        unsafe { os::on_signal(arrived) }.map_err(PokeError::Signal)
    })?;
    HANDLERS.add(handler);
    Ok(())
}

fn arrived() {
    // SeqCst: set after the action was changed. Of the signal that is being handled the kernel has decided already.
    if ENDS_CALLS.load(Ordering::SeqCst) != 0 && ENDS_CALLS.swap(0, Ordering::SeqCst) != 0 {
        os::set_restart(true);
    }
    HANDLERS.call();
}

/// Identity of a thread of this process.
///
/// It fits into an atomic: see [`to_bits`](Thread::to_bits). It says nothing any more once the thread has ended, as the system may give
/// the id to another one; a poke is then spurious, which is harmless (see [`on_poke`]).
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct Thread(NonZeroU64);

impl Thread {
    /// The calling thread, which can be poked from now on.
    ///
    /// The first call in a thread (and the first after a fork) asks the kernel and unblocks SIGURG in this thread. Later
    /// calls read a thread-local. Not for signal handlers: they use [`is_current`](Thread::is_current).
    pub fn current() -> Thread {
        match NonZeroU64::new(CURRENT.get()) {
            Some(id) => Thread(id),
            None => Thread::ask(),
        }
    }

    #[cold]
    fn ask() -> Thread {
        let id = os::thread_id();
        os::unblock_signal();
        // Without a fork handler the id would be wrong in a child, so it is not kept.
        if fork::register().is_ok() {
            CURRENT.set(id.get());
        }
        Thread(id)
    }

    /// The calling thread, by a system call and nothing else: for signal handlers that compare it with many. (What it is good for elsewhere,
    /// [`current`](Thread::current) does better.)
    pub fn calling() -> Thread {
        Thread(os::thread_id())
    }

    /// Makes this thread call the functions given to [`on_poke`]. False when the thread has ended.
    ///
    /// Pokes that arrive while another is being handled, or waits, merge into one. Two system calls, async-signal-safe,
    /// `errno` is kept. In the child of a fork, a thread of the parent has ended.
    pub fn poke(&self) -> bool {
        os::send_signal(self.0)
    }

    /// The same, and a system call in which the thread waits fails with `EINTR` where [`poke`](Thread::poke) would have it restarted. For a thread that
    /// should have come back long ago.
    ///
    /// Whether calls are restarted is a property of the process's action, so it is changed until the signal arrives. Another thread that is poked in
    /// between has its call ended instead, and this one's goes on until it is poked again.
    pub fn poke_out_of_call(&self) -> bool {
        if os::set_restart(false) {
            ENDS_CALLS.store(1, Ordering::SeqCst);
        }
        let sent = self.poke();
        if !sent && os::set_restart(true) {
            ENDS_CALLS.store(0, Ordering::SeqCst); // it has ended: no signal will do that
        }
        sent
    }

    /// The id as the system counts, never zero; the same number as [`to_bits`](Thread::to_bits).
    pub fn id(&self) -> NonZeroU64 {
        self.0
    }

    /// A number to keep in an atomic; never zero.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The thread that [`to_bits`](Thread::to_bits) came from; `None` for zero.
    pub fn from_bits(bits: u64) -> Option<Thread> {
        NonZeroU64::new(bits).map(Thread)
    }

    /// Is this the calling thread?
    ///
    /// May be asked in a signal handler: on Linux it is one system call, about 60 ns, and no thread-local.
    pub fn is_current(&self) -> bool {
        self.0 == os::thread_id()
    }
}

/// In the child of a fork(), on its only thread.
pub(crate) fn renew_in_child() {
    CURRENT.set(0);
    INSTALLED.renew_if_busy_in_child();
}
