//! What other threads may know of a state: its record.
//!
//! One for each attached state, in memory that is never unmapped ([`crate::slab`]). Interrupting threads, the timer thread and
//! signal handlers see nothing else; the state itself is touched by its owner thread alone.
//!
//! **No request is lost.** The timer thread asks again and again until the boundary has answered ([`Record::due`]): single
//! deliveries do get lost (DESIGN section 4, rule 1). For that the alarm must be armed while a request is unanswered, although the
//! owner re-arms the same alarm for its deadlines at any time. Asker: set the flag, then arm for now. Owner: arm for the deadline,
//! then look at the flags, and arm for now if there are any. All four are sequentially consistent, so either the owner sees the
//! flag or the asker's arming comes last.
//!
//! **Growing pauses**: 0.2 ms after the first delivery, doubled up to 10 ms. A delivery costs the guarded thread about 2 us. They begin anew, and shorter, where each of many
//! finalizers needs one ([`Record::again_soon`]).

use crate::Reason;
use crate::home::Inspectors;
use crate::request::{
    BREAK, CHECK, INTERRUPT, KILL, RECOUNT, Request, SAMPLE, SWEEP, TARGETS, WATCH,
};
use crate::slab::{Place, Slab};
use crate::state::State;
use crate::sys::HOOK_PER_COROUTINE;
use crate::watch::Watching;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use watchdog::{Alarm, Ticks, TimerError, Watch, cpu::ThreadClock, poke::Thread};

/// All records.
pub static RECORDS: Slab<Record> = Slab::over(AtomicPtr::new(ptr::null_mut()));

const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// After so many unanswered pokes, some six milliseconds, a stop ends the system call in which the thread may wait.
const POKES_THAT_RESTART: u32 = 4;

/// An interrupt that has waited this long, for a coroutine that is suspended or a state that is idle, ...
const PATIENCE: Duration = Duration::from_secs(1);
/// ... is repeated this often.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// The least time between two looks at a thread's CPU clock: a thread that sleeps gets no nearer to its limit, and the timer
/// thread is not to spin meanwhile. So a CPU limit may be passed by up to a millisecond.
const CPU_STEP: Duration = Duration::from_millis(1);

/// How often a look is taken whether the instructions are still being counted (a script can remove the count hook).
pub const RECOUNT_STEP: Duration = Duration::from_millis(5);

/// How often a look is taken who spends CPU time, on average, while calls that may be suspended limit it.
pub const SAMPLE_STEP: Duration = Duration::from_millis(1);

/// How often a look is taken whether a suspended call whose time is up has woken up, on average: for the first second, and afterwards. On PUC
/// Lua its own hook tells.
const POLL_STEP: Duration = Duration::from_millis(if HOOK_PER_COROUTINE { 100 } else { 10 });

/// The first look for a stale bit; each later one takes eight times as long to come, up to four seconds.
const FIRST_SWEEP: Duration = Duration::from_millis(1);
const SWEEPS: u32 = 5;

/// Called when a stop goes unanswered: the reason, and how long the call has been running.
pub type StuckFn = fn(Reason, Duration);

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
    /// The earliest CPU limit of the open calls, in nanoseconds of the owner's CPU clock; `u64::MAX`: none.
    pub cpu_until: AtomicU64,
    /// The owner's CPU clock, as `ThreadClock::to_bits`.
    pub cpu_clock: AtomicU64,
    /// An open call is ended by Ctrl-C.
    pub sigint: AtomicBool,
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
    /// When the last delivery ended, and how long it took, in nanoseconds.
    walk_ended: AtomicU64,
    /// See `walk_ended`.
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
            cpu_until: AtomicU64::new(u64::MAX),
            cpu_clock: AtomicU64::new(0),
            sigint: AtomicBool::new(false),
            counting: AtomicBool::new(false),
            sampling: AtomicBool::new(false),
            sampled_at: AtomicU64::new(0),
            suspends: AtomicBool::new(false),
            poll_at: AtomicU64::new(u64::MAX),
            polls_since: AtomicU64::new(0),
            sweeps: AtomicU32::new(0),
            sweep_at: AtomicU64::new(0),
            watching: Watching::default(),
            started: AtomicU64::new(0),
            stop_asked_at: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            scoped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
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
        self.cpu_until.store(u64::MAX, Ordering::Relaxed);
        self.sigint.store(false, Ordering::Relaxed);
        self.counting.store(false, Ordering::Relaxed);
        self.sampling.store(false, Ordering::Relaxed);
        self.suspends.store(false, Ordering::Relaxed);
        self.poll_at.store(u64::MAX, Ordering::Relaxed);
        self.sweeps.store(0, Ordering::Relaxed);
        self.watching.reset();
        self.scoped.store(false, Ordering::Relaxed);
        self.closing.store(false, Ordering::Relaxed);
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
        owner.poke();
        self.arm(Ticks::now()); // asks again until it is answered
        true
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

    /// Makes sure that there is an alarm.
    ///
    /// # Errors
    /// If the timer thread cannot be started.
    pub fn with_alarm(&self, place: Place<Record>) -> Result<(), TimerError> {
        let _ = self.place.set(place);
        if self.alarm.get().is_none() {
            let alarm = Alarm::new(Arc::new(RecordWatch { place }))?;
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

    /// What the timer thread does with this state at `now`; returns when to look again.
    fn due(&self, now: Ticks) -> Ticks {
        let generation = self.request.generation();
        let Some(owner) = Thread::from_bits(self.owner.load(Ordering::Acquire)) else {
            return self.due_while_closing(now);
        };
        let mut next = Ticks::NEVER;
        let deadline = Ticks::from_nanos(self.deadline.load(Ordering::Relaxed));
        let mut reason = None;
        if deadline <= now {
            reason = Some(Reason::Timeout);
        } else {
            next = deadline;
        }
        let cpu_until = self.cpu_until.load(Ordering::Relaxed);
        if cpu_until != u64::MAX
            && let Some(used) = ThreadClock::from_bits(self.cpu_clock.load(Ordering::Relaxed))
                .and_then(|c| c.read())
        {
            // A thread cannot use CPU time faster than the clock on the wall runs.
            match Duration::from_nanos(cpu_until).checked_sub(used) {
                None | Some(Duration::ZERO) => reason = Some(Reason::Cpu),
                Some(left) => next = next.min(now.after(left.max(CPU_STEP))),
            }
        }
        if reason.is_some() && !self.request.ask(generation, CHECK) {
            return Ticks::NEVER; // another state's record by now
        }
        let (late, look) = self.watching.due(now);
        next = next.min(look);
        let sampling = self.watching.sampling.due(now);
        next = next.min(sampling.next);
        if (late || sampling.late) && !self.request.ask(generation, WATCH) {
            return Ticks::NEVER;
        }
        if sampling.look && !self.request.ask(generation, SAMPLE) {
            return Ticks::NEVER;
        }
        if self.counting.load(Ordering::Relaxed) {
            if !self.request.ask(generation, RECOUNT) {
                return Ticks::NEVER;
            }
            next = next.min(now.after(RECOUNT_STEP));
        }
        if self.sampling.load(Ordering::Relaxed) {
            if self.is_time_to_sample(now) && !self.request.ask(generation, RECOUNT) {
                return Ticks::NEVER;
            }
            next = next.min(now.after(jittered(now, SAMPLE_STEP)));
        }
        next = next.min(self.poll_due(now, generation));
        next = next.min(self.sweep_due(now, generation));
        let flags = self.request.flags();
        if flags == 0 || flags == SAMPLE && !sampling.look {
            return next; // nothing is asked for, or the state did not run when it was
        }
        self.set_pending();
        // A delivery walks through all coroutines. Poked again at once, a thread with very many would do nothing else.
        let rest = self.rest_until();
        if rest > now {
            return next.min(rest);
        }
        // The owner may wait in a system call, which a poke has restarted.
        let stop = flags & (CHECK | INTERRUPT | KILL | WATCH) != 0;
        if stop && self.sends.load(Ordering::Relaxed) > POKES_THAT_RESTART {
            owner.poke_out_of_call();
        } else {
            owner.poke();
        }
        if flags & !(RECOUNT | SWEEP | SAMPLE) == 0 {
            return next;
        }
        if flags & INTERRUPT != 0 {
            reason = Some(Reason::Interrupt);
        } else if flags & KILL != 0 {
            reason = Some(Reason::Kill);
        }
        let mut pause = self.next_pause();
        if self.suspends.load(Ordering::Relaxed)
            && self.waiting_since(&self.stop_asked_at, now) > PATIENCE
        {
            pause = IDLE_PAUSE; // perhaps the call is asleep, and the state idle
        }
        if flags & !(TARGETS | RECOUNT | SWEEP | WATCH | BREAK | SAMPLE) == 0 {
            // The coroutine may be suspended, or the whole state idle, for as long as it likes.
            let pause = if flags & WATCH == 0 && self.waiting_since(&self.asked_at, now) > PATIENCE
            {
                IDLE_PAUSE
            } else {
                pause
            };
            return now.after(pause).min(next);
        }
        self.tell_if_stuck(now, reason.unwrap_or(Reason::Memory));
        now.after(pause).min(next)
    }

    /// Whether the thread has spent enough CPU time since it was last seen.
    fn is_time_to_sample(&self, now: Ticks) -> bool {
        let clock = ThreadClock::from_bits(self.cpu_clock.load(Ordering::Relaxed));
        let Some(used) = clock.and_then(|c| c.read()) else {
            return false;
        };
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        let last = self.sampled_at.load(Ordering::Relaxed);
        let enough = used.abs_diff(last) >= jittered(now, SAMPLE_STEP / 2).as_nanos() as u64;
        if enough {
            self.sampled_at.store(used, Ordering::Relaxed);
        }
        enough
    }

    /// Has looks taken for suspended calls whose time is up, or no longer; returns when the next is. Owner thread.
    pub fn poll(&self, yes: bool) -> Ticks {
        let at = self.poll_at.load(Ordering::Relaxed);
        let at = match (yes, at == u64::MAX) {
            (false, _) => u64::MAX,
            (true, false) => at,
            (true, true) => {
                let now = Ticks::now();
                self.polls_since.store(now.as_nanos(), Ordering::Relaxed);
                now.after(jittered(now, POLL_STEP)).as_nanos()
            }
        };
        self.poll_at.store(at, Ordering::Relaxed);
        Ticks::from_nanos(at)
    }

    /// Asks for such a look if it is time; returns when the next is.
    fn poll_due(&self, now: Ticks, generation: u64) -> Ticks {
        let at = Ticks::from_nanos(self.poll_at.load(Ordering::Relaxed));
        if at > now {
            return at;
        }
        let since = Ticks::from_nanos(self.polls_since.load(Ordering::Relaxed));
        let step = if now.since(since) > PATIENCE {
            IDLE_PAUSE
        } else {
            POLL_STEP
        };
        let next = now.after(jittered(now, step));
        // The owner may have taken it back at this moment; then the next look finds nothing, and takes it back again.
        let _ = self.poll_at.compare_exchange(
            at.as_nanos(),
            next.as_nanos(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        self.request.ask(generation, CHECK);
        next
    }

    /// LuaJIT: has looks taken for a bit that has come back, until five seconds from now. Owner thread.
    pub fn sweep(&self) {
        let at = Ticks::now().after(FIRST_SWEEP);
        self.sweep_at.store(at.as_nanos(), Ordering::Relaxed);
        self.sweeps.store(SWEEPS, Ordering::Relaxed);
    }

    /// Whether looks are to be taken; when the next is.
    pub fn next_sweep(&self) -> Ticks {
        if self.sweeps.load(Ordering::Relaxed) == 0 {
            return Ticks::NEVER;
        }
        Ticks::from_nanos(self.sweep_at.load(Ordering::Relaxed))
    }

    /// Asks for such a look if it is time; returns when the next is.
    fn sweep_due(&self, now: Ticks, generation: u64) -> Ticks {
        let at = self.next_sweep();
        if at > now {
            return at;
        }
        let left = self.sweeps.load(Ordering::Relaxed).saturating_sub(1);
        self.sweeps.store(left, Ordering::Relaxed);
        let next = now.after(FIRST_SWEEP * 8u32.pow(SWEEPS.saturating_sub(left)));
        self.sweep_at.store(next.as_nanos(), Ordering::Relaxed);
        self.request.ask(generation, SWEEP);
        self.next_sweep()
    }

    /// `due` of a state that is being closed, and can no longer be reached: the last resort is still there.
    fn due_while_closing(&self, now: Ticks) -> Ticks {
        let deadline = Ticks::from_nanos(self.deadline.load(Ordering::Relaxed));
        if !self.closing.load(Ordering::Relaxed) || deadline == Ticks::NEVER {
            return Ticks::NEVER;
        }
        if deadline > now {
            return deadline;
        }
        self.tell_if_stuck(now, Reason::Timeout);
        now.after(LONGEST_PAUSE)
    }

    /// A delivery has taken from `start` to `end`. **Signal context.**
    pub fn walked(&self, start: Ticks, end: Ticks) {
        let took = end.as_nanos().saturating_sub(start.as_nanos());
        self.walk_took.store(took, Ordering::Relaxed);
        self.walk_ended.store(end.as_nanos(), Ordering::Relaxed);
    }

    /// No delivery before this: the thread has had four times as long for itself as the last one took.
    fn rest_until(&self) -> Ticks {
        let took = self.walk_took.load(Ordering::Relaxed);
        Ticks::from_nanos(
            self.walk_ended
                .load(Ordering::Relaxed)
                .saturating_add(took.saturating_mul(4)),
        )
    }

    fn next_pause(&self) -> Duration {
        let n = self.sends.fetch_add(1, Ordering::Relaxed);
        if n > 4 {
            crate::jit::reclaim();
        }
        (FIRST_PAUSE * 2u32.saturating_pow(n.min(16))).min(LONGEST_PAUSE)
    }

    /// What has just been ended was a finalizer or a hook of the script, in which no hook runs. The next may be as endless, and needs a delivery of its own:
    /// so that comes soon, however long the pauses are by now. Owner thread.
    pub fn again_soon(&self) {
        self.sends.store(0, Ordering::Relaxed);
        self.arm(Ticks::now().after(FIRST_PAUSE / 4));
    }

    /// How long the request has been waiting for its answer.
    fn waiting_since(&self, asked_at: &AtomicU64, now: Ticks) -> Duration {
        match asked_at.load(Ordering::Relaxed) {
            0 => {
                asked_at.store(now.as_nanos(), Ordering::Relaxed);
                Duration::ZERO
            }
            t => now.since(Ticks::from_nanos(t)),
        }
    }

    fn tell_if_stuck(&self, now: Ticks, reason: Reason) {
        if !self.scoped.load(Ordering::Relaxed) {
            return;
        }
        if self.waiting_since(&self.stop_asked_at, now)
            < Duration::from_nanos(self.grace.load(Ordering::Relaxed))
        {
            return;
        }
        let f = self.stuck.swap(ptr::null_mut(), Ordering::Relaxed);
        if !f.is_null() {
            // SAFETY: only `on_stuck` stores here, and what it stores is a `StuckFn`.
            let f: StuckFn = unsafe { std::mem::transmute(f) };
            let started = Ticks::from_nanos(self.started.load(Ordering::Relaxed));
            f(reason, now.since(started));
        }
    }
}

/// A number below `n` that a script cannot foresee: made from a clock in nanoseconds at a moment that it does not choose.
pub fn unforeseen(now: Ticks, n: u64) -> u64 {
    // Fibonacci hashing: the low bits of the clock, which nobody knows, decide.
    (now.as_nanos().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % n.max(1)
}

/// Between half and one and a half of `step`.
fn jittered(now: Ticks, step: Duration) -> Duration {
    let step = step.as_nanos() as u64;
    Duration::from_nanos(step / 2 + unforeseen(now, step))
}

/// What the alarm of a record calls.
struct RecordWatch {
    place: Place<Record>,
}

impl Watch for RecordWatch {
    fn due(&self, now: Ticks) -> Ticks {
        self.place.get().due(now)
    }
}

/// In the child of a `fork`, on its only thread: calls that it was in the middle of have an owner by another name now.
#[inline(never)] // compared by address: it must have one
pub fn after_fork() {
    crate::jit::after_fork();
    crate::sigint::after_fork();
    let me = Thread::current();
    RECORDS.for_each_used(|r| {
        r.inspectors.none_after_fork();
        // The other threads of the parent are gone, and with them whatever they ran: only this thread's calls go on, and
        // they are those whose state has this thread's stack above it. A record of a vanished thread keeps its dead owner; a
        // poke at it finds nobody.
        // Relaxed: one thread.
        let state = r.state.load(Ordering::Relaxed);
        if r.owner.load(Ordering::Relaxed) != 0 && !state.is_null() {
            // SAFETY: a state that is attached; this thread is the only one.
            let state = unsafe { &*state };
            if state.pthread.get() == thread_identity() {
                r.owner.store(me.to_bits(), Ordering::Relaxed);
                r.cpu_clock
                    .store(ThreadClock::current().to_bits(), Ordering::Relaxed);
            }
        }
    });
}

/// An identity of the thread that a fork keeps: `pthread_self`.
pub fn thread_identity() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as usize }
}
