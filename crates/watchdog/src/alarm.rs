//! Alarms: what users hold.
//!
//! An alarm owns one slot of the schedule. It can be armed and disarmed from any thread, by stores to that slot; the
//! rules by which it meets the timer thread are in `slot` (the call) and `sleep` (the wake-up).

use crate::slot::{NEVER, Payload, Slot};
use crate::ticks::Ticks;
use crate::timer::{self, Timer};
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What an alarm calls, on the timer thread.
///
/// It is level-triggered: it looks at the world, acts, and returns when it wants to be called next. It should not rely on
/// having been called at a certain time, since it may be called early (a deadline that was moved while the call began, a
/// fork), and it must be quick, since all alarms of the process share the thread.
pub trait Watch: Send + Sync {
    /// The deadline has come; `now` is the present or a little before, and not before the deadline unless the call is
    /// spurious.
    ///
    /// Returns when to call again; [`Ticks::NEVER`]: not until the alarm is armed again. A time that has passed already
    /// means "at once", and if it does so each time, the timer thread never sleeps. If the alarm is armed during the call,
    /// the earlier of both holds; if it is disarmed during the call, it stays disarmed.
    ///
    /// It sees all that a thread wrote before it armed the deadline that has come.
    ///
    /// A panic is caught, after the panic hook has reported it: the alarm is then disarmed, unless it was armed during the
    /// call. (In a program built with `panic = "abort"` it ends the process.)
    fn due(&self, now: Ticks) -> Ticks;
}

/// A deadline that can be set again and again, at the price of a store and a fence.
///
/// See the [crate's documentation](crate) for an example.
pub struct Alarm {
    timer: &'static Timer,
    slot: Slot<Guarded>,
}

impl Alarm {
    /// An alarm that calls `watch`, not armed.
    ///
    /// Starts the timer thread if this process has none. Takes no lock, but allocates: not for signal handlers.
    ///
    /// # Errors
    ///
    /// [`TimerError::Thread`] if the thread cannot be started, [`TimerError::Fork`] if the process has no memory to be told
    /// of forks, [`TimerError::Full`] if there are a thousand million alarms. After each of them a later try may succeed.
    pub fn new(watch: Arc<dyn Watch>) -> Result<Alarm, TimerError> {
        let timer = timer::get();
        timer.ensure_running()?;
        let slot = timer
            .schedule
            .insert(Guarded(watch))
            .ok_or(TimerError::Full)?;
        Ok(Alarm { timer, slot })
    }

    /// Sets the deadline, and replaces an earlier one: the last `arm` or `disarm` of all threads holds.
    ///
    /// [`Watch::due`] is called once the time has come, never before `at` on account of this call. [`Ticks::NEVER`] disarms.
    ///
    /// Lock-free and allocation-free. No system call unless `at` is earlier than what the timer thread sleeps for; then
    /// it is woken, which takes a few microseconds. Async-signal-safe, and `errno` is kept.
    ///
    /// One exception: in the child of a fork in which no alarm was armed, the first call starts the timer thread, which
    /// allocates and is nothing for a signal handler. If the thread cannot be started, that is not reported: this
    /// deadline will be met only when a later `arm`, or [`Alarm::new`], can start the thread.
    pub fn arm(&self, at: Ticks) {
        self.timer.arm(self.slot, at.as_nanos());
    }

    /// Takes the deadline away.
    ///
    /// After it [`Watch::due`] is not called any more until the alarm is armed again; a call that is under way
    /// goes on, and what it returns is ignored. Lock-free, without system call or allocation; async-signal-safe.
    ///
    /// The timer thread may still wake up for the deadline, and finds nothing.
    pub fn disarm(&self) {
        self.timer.schedule.disarm(self.slot);
    }
}

impl Drop for Alarm {
    /// Gives the slot back. Never waits for [`Watch::due`]: if it is under way, it goes on, and the `Arc` is dropped on
    /// the timer thread afterwards; otherwise it is dropped here.
    fn drop(&mut self) {
        drop(self.timer.schedule.remove(self.slot));
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("slot", &self.slot.index)
            .finish_non_exhaustive()
    }
}

/// Why an [`Alarm`] could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimerError {
    /// The system refuses another thread, for want of memory or by a limit on threads.
    #[error("cannot start the timer thread: {0}")]
    Thread(#[source] io::Error),
    /// The system has no memory to register what has to happen after a fork.
    #[error("cannot register for forks: {0}")]
    Fork(#[source] io::Error),
    /// There are as many alarms as can be counted, a thousand million.
    #[error("too many alarms")]
    Full,
}

/// A watch whose panics stay in it.
pub(crate) struct Guarded(Arc<dyn Watch>);

impl Payload for Guarded {
    fn due(&self, now: u64) -> u64 {
        // Unwind safety: what a panic leaves broken is the watch's own, and the watch knows that it may be called again.
        match catch_unwind(AssertUnwindSafe(|| self.0.due(Ticks::from_nanos(now)))) {
            Ok(next) => next.as_nanos(),
            Err(payload) => {
                // Leaked: its own drop might panic again.
                mem::forget(payload);
                NEVER
            }
        }
    }

    fn discard(self) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(self))) {
            mem::forget(payload);
        }
    }
}
