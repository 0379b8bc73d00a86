//! What the timer thread does with a state whose alarm has rung ([`Record::due`]).
//!
//! It compares the record's deadlines with its clocks, marks on the request what the owner has to look at, pokes the owner, and says when to
//! look again. It decides nothing: the owner looks at its own limits, and finds nothing if the look came late.
//!
//! **Looks that nobody asks for** go by the same alarm: whether instructions are still counted, who spends CPU time, whether a suspended call
//! whose time is up has woken up, whether a bit has come back on LuaJIT. Their times are [jittered], so that a script cannot keep away from them.
//!
//! **Growing pauses**: 0.2 ms after the first delivery, doubled up to 10 ms. A delivery costs the guarded thread about 2 us. What cannot
//! be answered soon, since its coroutine is suspended or its state idle, is asked for ten times a second after a while; and a thread that
//! walks through very many coroutines at each delivery has four times as long for itself in between, in which only what runs with hooks off is seen to. The pauses begin anew, and shorter, where each of many finalizers
//! needs a delivery ([`Record::again_soon`]).

use super::Record;
use crate::Reason;
use crate::request::{BREAK, CHECK, INTERRUPT, KILL, RECOUNT, SAMPLE, SWEEP, TARGETS, WATCH};
use crate::slab::Place;
use crate::sync;
use crate::sys::HOOK_PER_COROUTINE;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use watchdog::{Ticks, Watch, cpu::ThreadClock, poke::Thread};

const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// After so many unanswered pokes, some six milliseconds, a stop ends the system call in which the thread may wait.
const POKES_THAT_RESTART: u32 = 4;

/// A delivery that has not ended by then is not waited for: whoever was at it has been carried off, by a `longjmp` out of a signal handler of the host.
const LONGEST_WALK: Duration = Duration::from_secs(2);

/// A delivery that has taken less is none that anybody has to rest from.
const SHORT_WALK: Duration = Duration::from_micros(100);

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

// Orderings: see `Record`.
impl Record {
    /// What the timer thread does with this state at `now`; returns when to look again.
    fn due(&self, now: Ticks) -> Ticks {
        sync::can_fence_others();
        let next = self.look_at_all(now);
        // Last, for the fence in it may take its time on a busy machine, and somebody may be late.
        next.min(self.lookout.look(now, || {
            self.deadline
                .load(Ordering::Relaxed)
                .min(self.watching.until())
        }))
    }

    fn look_at_all(&self, now: Ticks) -> Ticks {
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
        if cpu_until != u64::MAX {
            let clock = ThreadClock::from_bits(self.cpu_clock.load(Ordering::Relaxed));
            // A thread cannot use CPU time faster than the clock on the wall runs. (A clock that cannot be read now, in the child of a fork, can be a moment later.)
            let left = match clock.and_then(|c| c.read()) {
                Some(used) => Duration::from_nanos(cpu_until).saturating_sub(used),
                None => CPU_STEP,
            };
            match left {
                Duration::ZERO => reason = Some(Reason::Cpu),
                left => next = next.min(now.after(left.max(CPU_STEP))),
            }
        }
        if reason.is_some() && !self.request.ask(generation, CHECK) {
            return Ticks::NEVER; // another state's record by now
        }
        let until = Ticks::from_nanos(self.watching.until());
        let late = until <= now;
        if !late {
            next = next.min(until);
        }
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
        let rest = self.rest_until(now);
        if rest > now {
            return next.min(self.poke_meanwhile(now, owner, flags, rest));
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

    /// No delivery before this. While one is under way, another would follow at its end, before the thread has run an instruction of its own, and so on
    /// for ever. And where one takes long (300,000 coroutines: 30 ms), the thread is to have four times as long for itself.
    ///
    /// How long it takes is CPU time: on a busy machine the system may take the processor away in its midst, for a tenth of a second or two.
    pub(super) fn rest_until(&self, now: Ticks) -> Ticks {
        // Acquire: `walked`.
        let began = Ticks::from_nanos(self.walk_began.load(Ordering::Acquire));
        if began != Ticks::from_nanos(0) && now.since(began) < LONGEST_WALK {
            return now.after(FIRST_PAUSE);
        }
        let took = Duration::from_nanos(self.walk_took.load(Ordering::Relaxed));
        if took < SHORT_WALK {
            return Ticks::from_nanos(0);
        }
        let ended = Ticks::from_nanos(self.walk_ended.load(Ordering::Relaxed));
        ended.after(took.saturating_mul(4))
    }

    /// Whether the thread rests from the last delivery.
    pub fn rests(&self, now: Ticks) -> bool {
        self.rest_until(now) > now
    }

    /// The thread rests until `rest`; but not from what it takes to see to the few coroutines in which hooks were off ([`crate::hookless`]). Returns when to look again.
    fn poke_meanwhile(&self, now: Ticks, owner: Thread, flags: u64, rest: Ticks) -> Ticks {
        let is_walking = self.walk_began.load(Ordering::Acquire) != 0;
        let stop = flags & (CHECK | INTERRUPT | KILL | WATCH) != 0;
        if is_walking || !stop || !self.unseen.load(Ordering::Relaxed) {
            return rest;
        }
        owner.poke();
        now.after(self.next_pause()).min(rest)
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

    /// Whether a stop has been asked for, for so long, and is not answered.
    pub fn has_waited(&self, long: Duration, now: Ticks) -> bool {
        let at = self.stop_asked_at.load(Ordering::Relaxed);
        at != 0 && now.since(Ticks::from_nanos(at)) >= long
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
pub struct RecordWatch {
    pub place: Place<Record>,
}

impl Watch for RecordWatch {
    fn due(&self, now: Ticks) -> Ticks {
        self.place.get().due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Ticks {
        Ticks::from_nanos(1_000_000 * n)
    }

    /// A handler that had lost its processor for 0.3 s kept deliveries off for 1.2 s.
    #[test]
    fn the_rest_is_as_long_as_the_work_was() {
        let record = Record::default();
        let rest = |now| record.rest_until(now);
        record.walks(ms(1000));
        record.walked(Duration::from_millis(1), ms(1300));
        assert_eq!(rest(ms(1301)), ms(1304));
        record.walks(ms(1400));
        record.walked(Duration::from_micros(10), ms(1500));
        assert!(rest(ms(1500)) <= ms(1500));
    }

    /// A poke that came during a long delivery had the next one follow at once, in which another came: a stop was 144 s late.
    #[test]
    fn no_delivery_is_asked_for_during_another() {
        let record = Record::default();
        record.walks(ms(1000));
        assert!(record.rest_until(ms(1000)) > ms(1000));
        assert!(record.rest_until(ms(1500)) > ms(1500));
        // Unless it does not come to an end.
        assert!(record.rest_until(ms(4000)) <= ms(4000));
        record.walked(Duration::ZERO, ms(4000));
        assert!(record.rest_until(ms(4000)) <= ms(4000));
    }
}
