//! What other threads may know of a state: its record.
//!
//! One for each attached state, in memory that is never unmapped ([`crate::slab`]). Interrupting threads, the timer thread and
//! signal handlers see nothing else; the state itself is touched by its owner thread alone.
//!
//! **No request is lost.** The timer thread asks again and again until the boundary has answered ([`Record::due`]): single
//! deliveries do get lost: an instruction that Lua was just executing may overwrite what the handler has set. For that the alarm must be armed while a request is unanswered, although the
//! owner re-arms the same alarm for its deadlines at any time. Asker: set the flag, then arm for now. Owner: arm for the deadline,
//! then look at the flags, and arm for now if there are any. All four are sequentially consistent, so either the owner sees the
//! flag or the asker's arming comes last. It is the same where the owner disarms, with a fence of its own before the look. Usually it does neither: see
//! [`lookout`].
//!
//! What the timer thread makes of a record is in [`timer`].

mod lookout;
#[cfg(test)]
mod lookout_tests;
mod timer;

pub use lookout::{Lookout, NEVER};
pub use timer::{RECOUNT_STEP, SAMPLE_STEP, StuckFn, unforeseen};

use crate::home::Inspectors;
use crate::request::Request;
use crate::slab::{Place, Slab};
use crate::state::State;
use crate::sync;
use crate::watch::Watching;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use timer::RecordWatch;
use watchdog::{Alarm, Ticks, TimerError, cpu::ThreadClock, poke::Thread};

/// All records.
pub static RECORDS: Slab<Record> = Slab::over(AtomicPtr::new(ptr::null_mut()));

/// See the module's header.
pub struct Record {
    /// What is asked for.
    pub request: Request,
    /// The thread that runs the state, as `Thread::to_bits`; 0: no call is open.
    pub owner: AtomicU64,
    /// The thread pointer of the thread on which the state was last active ([`crate::home`]); 0: not known.
    pub home: AtomicUsize,
    /// The earliest deadline of the open calls, as `Ticks`.
    pub deadline: AtomicU64,
    /// When the timer thread looks at that, and at the watched coroutines.
    pub lookout: Lookout,
    /// The earliest CPU limit of the open calls, in nanoseconds of the owner's CPU clock; `u64::MAX`: none.
    pub cpu_until: AtomicU64,
    /// The owner's CPU clock, as `ThreadClock::to_bits`.
    pub cpu_clock: AtomicU64,
    /// How often Ctrl-C had been pressed when the oldest of the open calls began that it ends; `u64::MAX`: there is none.
    pub sigint: AtomicU64,
    /// An open call counts instructions.
    pub counting: AtomicBool,
    /// An open call that may be suspended limits CPU time.
    pub sampling: AtomicBool,
    /// When the CPU clock was last sampled, in its nanoseconds.
    sampled_at: AtomicU64,
    /// An open call may be suspended: perhaps nothing is to be stopped now, and for a long time.
    pub suspends: AtomicBool,
    /// When the next look is taken for a suspended call whose time is up, as `Ticks`; and when the first was.
    poll_at: AtomicU64,
    /// See `poll_at`.
    polls_since: AtomicU64,
    /// LuaJIT: looks that are still to be taken for a bit that has come back ([`crate::jit`]), and when the next is, as `Ticks`.
    sweeps: AtomicU32,
    /// See `sweeps`.
    sweep_at: AtomicU64,
    /// A coroutine has been asked for more than to be interrupted ([`crate::asked`]), since it was last looked which.
    pub asked_for_more: AtomicBool,
    /// Coroutines that must yield in time.
    pub watching: Watching,
    /// When the outermost call began, as `Ticks`.
    pub started: AtomicU64,
    /// When the unanswered request was first made, as `Ticks`; 0: none. Stops, and interrupts of coroutines, each for itself.
    stop_asked_at: AtomicU64,
    /// See `stop_asked_at`.
    asked_at: AtomicU64,
    /// A call is open.
    pub scoped: AtomicBool,
    /// The state is gone, or going, while a call is open: nothing can be delivered, but the limits are still watched.
    pub closing: AtomicBool,
    /// At the last walk through all coroutines something ran with hooks off, and to look at that again takes no walk ([`crate::hookless`]).
    pub unseen: AtomicBool,
    /// The owner thread itself has asked while it rests from a walk: the handler takes one all the same.
    insists: AtomicBool,
    /// When the delivery began that is under way, as `Ticks`; 0: none is. When the last one ended, and how much CPU time it took, in nanoseconds.
    walk_began: AtomicU64,
    /// See `walk_began`.
    walk_ended: AtomicU64,
    /// See `walk_began`.
    walk_took: AtomicU64,
    /// Deliveries since then.
    sends: AtomicU32,
    /// `StuckFn`, and how long to wait, in nanoseconds.
    stuck: AtomicPtr<()>,
    grace: AtomicU64,
    /// Wakes the timer thread. Belongs to the record, not to the state: whoever asks may use it while the state goes.
    alarm: OnceLock<Alarm>,
    /// Signal handlers that are looking at the state.
    pub inspectors: Inspectors,
    /// Where this record lies, once it has been used.
    place: OnceLock<Place<Record>>,
    /// The state. Only for the owner thread, its signal handler included.
    pub state: AtomicPtr<State>,
}

impl Default for Record {
    fn default() -> Self {
        Record {
            request: Request::default(),
            owner: AtomicU64::new(0),
            home: AtomicUsize::new(0),
            deadline: AtomicU64::new(u64::MAX),
            lookout: Lookout::default(),
            cpu_until: AtomicU64::new(u64::MAX),
            cpu_clock: AtomicU64::new(0),
            sigint: AtomicU64::new(u64::MAX),
            counting: AtomicBool::new(false),
            sampling: AtomicBool::new(false),
            sampled_at: AtomicU64::new(0),
            suspends: AtomicBool::new(false),
            poll_at: AtomicU64::new(u64::MAX),
            polls_since: AtomicU64::new(0),
            sweeps: AtomicU32::new(0),
            sweep_at: AtomicU64::new(0),
            asked_for_more: AtomicBool::new(false),
            watching: Watching::default(),
            started: AtomicU64::new(0),
            stop_asked_at: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            scoped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            unseen: AtomicBool::new(false),
            insists: AtomicBool::new(false),
            walk_began: AtomicU64::new(0),
            walk_ended: AtomicU64::new(0),
            walk_took: AtomicU64::new(0),
            sends: AtomicU32::new(0),
            stuck: AtomicPtr::new(ptr::null_mut()),
            grace: AtomicU64::new(u64::MAX),
            alarm: OnceLock::new(),
            inspectors: Inspectors::default(),
            place: OnceLock::new(),
            state: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

// Orderings below: `owner` is Release/Acquire, so that who sees an owner sees the deadlines and the clock stored before it. The
// rest are single words that the timer thread may see late: it looks again at the next alarm, which is armed after they are
// stored (`Alarm::arm` is a release). Relaxed is enough for them.
impl Record {
    /// Resets what a former state may have left.
    pub fn reset(&self) {
        self.owner.store(0, Ordering::Release);
        self.home.store(0, Ordering::Relaxed);
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        self.lookout.reset();
        self.cpu_until.store(u64::MAX, Ordering::Relaxed);
        self.sigint.store(u64::MAX, Ordering::Relaxed);
        self.counting.store(false, Ordering::Relaxed);
        self.sampling.store(false, Ordering::Relaxed);
        self.suspends.store(false, Ordering::Relaxed);
        self.poll_at.store(u64::MAX, Ordering::Relaxed);
        self.sweeps.store(0, Ordering::Relaxed);
        self.asked_for_more.store(false, Ordering::Relaxed);
        self.watching.reset();
        self.scoped.store(false, Ordering::Relaxed);
        self.closing.store(false, Ordering::Relaxed);
        self.insists.store(false, Ordering::Relaxed);
        self.walk_began.store(0, Ordering::Relaxed);
        self.walk_ended.store(0, Ordering::Relaxed);
        self.walk_took.store(0, Ordering::Relaxed);
        self.stuck.store(ptr::null_mut(), Ordering::Relaxed);
        self.grace.store(u64::MAX, Ordering::Relaxed);
        self.settled();
        self.request.renew();
    }

    /// The request has been answered.
    pub fn settled(&self) {
        self.stop_asked_at.store(0, Ordering::Relaxed);
        self.asked_at.store(0, Ordering::Relaxed);
        self.sends.store(0, Ordering::Relaxed);
        self.unseen.store(false, Ordering::Relaxed);
    }

    /// Sets what to call when a stop goes unanswered for `grace`.
    pub fn on_stuck(&self, grace: Duration, f: StuckFn) {
        self.stuck.store(f as *mut (), Ordering::Relaxed);
        let nanos = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        self.grace.store(nanos, Ordering::Relaxed);
    }

    /// Asks and pokes, from any thread. False if the state is of another generation or has no owner (no call is open, and it is
    /// not guarded from inside).
    pub fn ask(&self, generation: u64, flags: u64) -> bool {
        let Some(owner) = Thread::from_bits(self.owner.load(Ordering::Acquire)) else {
            return false;
        };
        if !self.request.ask(generation, flags) {
            return false;
        }
        self.set_pending();
        let now = Ticks::now();
        if self.rest_until(now) <= now {
            owner.poke();
        } else if owner.is_current() {
            // Who asks on its own thread meets it at the next instruction, as ever: the rest is a defence against others, and what this costs is its own.
            // Relaxed: for the handler on this thread.
            self.insists.store(true, Ordering::Relaxed);
            owner.poke();
        }
        self.arm(now); // asks again until it is answered
        true
    }

    /// Whether the owner thread itself has asked although it rests from a walk, since this was last asked. **Signal context**; owner thread.
    pub fn takes_insistence(&self) -> bool {
        // Relaxed: see `ask`.
        self.insists.load(Ordering::Relaxed) && self.insists.swap(false, Ordering::Relaxed)
    }

    /// Asks and pokes, once: nobody asks again. False if the state has no owner. **Signal context**; any thread.
    #[cfg(feature = "luajit")]
    pub fn hint(&self, generation: u64, flags: u64) -> bool {
        let owner = Thread::from_bits(self.owner.load(Ordering::Acquire));
        if let Some(owner) = owner
            && self.request.ask(generation, flags)
        {
            self.set_pending();
            owner.poke();
        }
        owner.is_some()
    }

    /// Whether nothing but the deadlines of calls has the timer thread look at this state. Owner thread.
    #[inline(always)]
    pub fn looks_for_nothing_else(&self) -> bool {
        self.poll_at.load(Ordering::Relaxed) == u64::MAX
            && self.next_sweep() == Ticks::NEVER
            && self.watching.sampling.next_look() == Ticks::NEVER
    }

    /// Makes sure that there is an alarm.
    ///
    /// # Errors
    /// If the timer thread cannot be started.
    pub fn with_alarm(&self, place: Place<Record>) -> Result<(), TimerError> {
        let _ = self.place.set(place);
        if self.alarm.get().is_none() {
            sync::ask_while_alone();
            let alarm = Alarm::new(Arc::new(RecordWatch { place }))?;
            if !sync::fences_others() {
                alarm.arm(Ticks::now()); // the timer thread finds out whether it can
            }
            // Nobody else has this record, so nobody else sets it.
            let _ = self.alarm.set(alarm);
        }
        Ok(())
    }

    fn set_pending(&self) {
        if let Some(place) = self.place.get() {
            place.set_pending();
        }
    }

    /// Has [`due`](Self::due) called at `at`, instead of at any earlier or later time that was asked for before.
    pub fn arm(&self, at: Ticks) {
        if let Some(alarm) = self.alarm.get() {
            alarm.arm(at);
        }
    }

    /// Has it not called.
    pub fn disarm(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.disarm();
        }
    }

    /// In the child of a fork: the thread that ran this state is not there. True if it was in the midst of it: then nobody will ever run it again, and
    /// what was to be done for it must not be tried for ever, nor end the process. One that did not run may come to another thread.
    fn vanishes(&self, state: &State) -> bool {
        // The next thread may get the control block of the one that has gone.
        self.home.store(0, Ordering::Relaxed);
        let mut in_call = false;
        state.for_each_open(|s| in_call |= !s.is_asleep());
        if !(in_call || state.follows.get() && state.runs_here()) {
            return false;
        }
        self.owner.store(0, Ordering::Relaxed);
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        self.cpu_until.store(u64::MAX, Ordering::Relaxed);
        self.sigint.store(u64::MAX, Ordering::Relaxed);
        self.counting.store(false, Ordering::Relaxed);
        self.sampling.store(false, Ordering::Relaxed);
        self.poll_at.store(u64::MAX, Ordering::Relaxed);
        self.sweeps.store(0, Ordering::Relaxed);
        self.watching.reset();
        self.stuck.store(ptr::null_mut(), Ordering::Relaxed);
        self.closing.store(false, Ordering::Relaxed);
        self.request.answer(self.request.flags());
        true
    }

    /// A delivery begins. **Signal context.**
    pub fn walks(&self, now: Ticks) {
        self.walk_began.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Whether one is under way that began then. **Signal context.**
    pub fn is_walked_since(&self, began: Ticks) -> bool {
        self.walk_began.load(Ordering::Relaxed) == began.as_nanos()
    }

    /// The state has come to another thread: a delivery that was under way, or is over, was the former's. Owner thread, when no handler looks at the state any more.
    pub fn has_not_walked(&self) {
        self.walk_began.store(0, Ordering::Relaxed);
        self.walk_took.store(0, Ordering::Relaxed);
    }

    /// When the last one ended.
    #[cfg(test)]
    pub fn walk_ended(&self) -> Ticks {
        Ticks::from_nanos(self.walk_ended.load(Ordering::Relaxed))
    }

    /// It has ended, and has taken so much CPU time. **Signal context.**
    pub fn walked(&self, took: Duration, now: Ticks) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.walk_took.store(took, Ordering::Relaxed);
        self.walk_ended.store(now.as_nanos(), Ordering::Relaxed);
        // Release: whoever sees that it is over sees what it took.
        self.walk_began.store(0, Ordering::Release);
    }
}

/// In the child of a `fork`, on its only thread: calls that it was in the middle of have an owner by another name now.
#[inline(never)] // compared by address: it must have one
pub fn after_fork() {
    crate::jit::after_fork();
    let me = Thread::current();
    let mut want_sigint = 0;
    RECORDS.for_each_used(|r| {
        r.inspectors.none_after_fork();
        r.lookout.reset(); // what the parent's timer thread was about to promise
        // Relaxed: one thread.
        let state = r.state.load(Ordering::Relaxed);
        // SAFETY: null, or a state that is attached; this thread is the only one.
        let Some(state) = (unsafe { state.as_ref() }) else {
            return;
        };
        let is_ours = state.pthread.get() == thread_identity();
        if is_ours && r.owner.load(Ordering::Relaxed) != 0 {
            r.owner.store(me.to_bits(), Ordering::Relaxed);
            let clock = ThreadClock::current().to_bits();
            r.cpu_clock.store(clock, Ordering::Relaxed);
            r.watching.sampling.follow();
        }
        if !is_ours && r.vanishes(state) {
            return;
        }
        state.for_each_open(|s| want_sigint += usize::from(s.limits.sigint));
    });
    crate::sigint::after_fork(want_sigint);
}

/// An identity of the thread that a fork keeps: `pthread_self`.
pub fn thread_identity() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as usize }
}
