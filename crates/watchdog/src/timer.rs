//! The one timer thread: how it starts, what it does, and what a fork makes of it.
//!
//! It does nothing but rounds: look at all deadlines, call what is due, sleep until the next. With nothing armed it sleeps
//! without a timeout. It is started by the first alarm and never ends.
//!
//! What must always be true:
//!
//! 1. In one process there is at most one timer thread (`Schedule::round` relies on it). `running` sees to it; only
//!    the child of a fork opens it again, and only if the timer thread did not come along.
//! 2. The fork handlers are registered before the thread is started: no child is ever without them.
//! 3. The `Timer` is never freed, so that an alarm can hold a plain reference.
//!
//! Fork. The child has the deadlines (memory is copied) but not the thread. If anything is armed, the thread is started
//! right there, in the handler: the child may run for long without arming anything, and a limit from before the fork
//! has to hold. If nothing is armed, it waits for the first `arm`: most children only call `exec`, some call `unshare`,
//! which a second thread forbids. A fork called by a callback, on the timer thread itself, leaves the child with that thread alone: it
//! goes on as the timer.
//!
//! The thread is made by the system's own call and not by `std::thread`: the latter takes locks (for its stack guards), and
//! another thread of the parent may have held one at the moment of the fork.
//!
//! What was rejected: `timer_create` with a signal per deadline (a system call to arm), `SIGEV_THREAD` (a thread per
//! expiry), `timerfd` (a file descriptor that hosts close when they daemonise).

use crate::alarm::{Guarded, TimerError};
use crate::fork;
use crate::latch::Latch;
use crate::os;
use crate::schedule::Schedule;
use crate::slot::Slot;
use crate::sync::{AtomicPtr, AtomicU8, Ordering};
use crate::tsc;
use std::cell::Cell;
use std::ptr;

/// See the header.
pub(crate) struct Timer {
    pub(crate) schedule: Schedule<Guarded>,
    running: Latch,
}

static TIMER: AtomicPtr<Timer> = AtomicPtr::new(ptr::null_mut());

thread_local! {
    /// Is this the timer thread?
    static TIMER_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// The process's timer, which is made when first asked for; its thread is not started.
pub(crate) fn get() -> &'static Timer {
    if let Some(timer) = existing() {
        return timer;
    }
    let new = Box::into_raw(Box::new(Timer {
        schedule: Schedule::new(),
        running: Latch::over(AtomicU8::new(0)),
    }));
    // Release: publishes what is in it. Acquire on failure: so did the other thread.
    match TIMER.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: once published it is never freed.
        Ok(_) => unsafe { &*new },
        Err(other) => {
            // SAFETY: `new` was never published and is ours.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: published, so never freed.
            unsafe { &*other }
        }
    }
}

fn existing() -> Option<&'static Timer> {
    // Acquire: its contents were written before it was published.
    let timer = TIMER.load(Ordering::Acquire);
    // SAFETY: null, or published and never freed.
    unsafe { timer.as_ref() }
}

impl Timer {
    pub(crate) fn ensure_running(&'static self) -> Result<(), TimerError> {
        self.running.get_or_try(start)
    }

    pub(crate) fn arm(&'static self, slot: Slot<Guarded>, at: u64) {
        if self.schedule.arm(slot, at) {
            // Only in a child of a fork is there an alarm without a thread. If another thread is starting it, or it cannot
            // be started, there is nothing to wait for: a timer that starts looks at all deadlines first.
            let _ = self.running.try_now(start);
        }
    }
}

fn start() -> Result<(), TimerError> {
    fork::register().map_err(TimerError::Fork)?;
    tsc::prepare();
    os::spawn_timer(run).map_err(TimerError::Thread)
}

fn run() {
    TIMER_THREAD.set(true);
    let timer = get();
    loop {
        let next = timer.schedule.round(os::now());
        timer.schedule.sleep(next, os::now);
    }
}

/// In the child of a fork(), on its only thread.
/// True if a timer thread is needed at once.
pub(crate) fn renew_in_child() -> bool {
    let Some(timer) = existing() else {
        return false;
    };
    if TIMER_THREAD.get() {
        timer.schedule.look_again();
        return false;
    }
    timer.running.renew_in_child();
    timer.schedule.renew_in_child()
}

/// Starts it.
pub(crate) fn start_in_child() {
    if let Some(timer) = existing() {
        // If it fails, the next `arm` tries again.
        let _ = timer.running.try_now(start);
    }
}
