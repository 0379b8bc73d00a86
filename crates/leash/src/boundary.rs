//! Entering and leaving a call with limits.
//!
//! What must be true: a handler that interrupts any of this finds a whole. So a scope is complete before it is linked; the owner is
//! stored last on entering, and taken away first on leaving; count hooks that are being set or taken away are marked as such
//! (`rehooking`). Nested calls re-arm the one alarm of the state for whatever is due first ([`State::publish`]).

use crate::hook;
use crate::hookless;
use crate::jit::{self, Jit};
use crate::limits::Reason;
use crate::record::{RECOUNT_STEP, thread_identity};
use crate::request::{CHECK, INTERRUPT, KILL, RECOUNT, SWEEP};
use crate::scope::Scope;
use crate::state::{COUNT_STEP, State};
use crate::sys::lua_State;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock, poke::Thread};

impl State {
    /// Calls `f` for each open scope, the innermost first.
    pub fn for_each_scope(&self, mut f: impl FnMut(&Scope)) {
        let mut s = self.scope.get();
        // SAFETY: open scopes stay in place, each linked to the next until null.
        while let Some(scope) = unsafe { s.as_ref() } {
            f(scope);
            s = scope.outer;
        }
    }

    /// Opens a scope for code that runs in `l`.
    pub fn enter(&self, scope: &Scope, l: *mut lua_State) {
        let record = self.record();
        let outermost = scope.outer.is_null();
        if outermost {
            jit::unmark(self); // a late delivery
            // Requests were for calls that are over.
            self.place.clear_pending();
            record
                .request
                .answer(CHECK | INTERRUPT | KILL | RECOUNT | SWEEP);
            record.settled();
            self.unanswered.set(0);
            self.traceback.borrow_mut().clear();
            record
                .started
                .store(scope.started.as_nanos(), Ordering::Relaxed);
            if scope.cpu_until.get() != u64::MAX {
                self.publish_clock();
            }
        } else if scope.cpu_until.get() != u64::MAX {
            self.publish_clock();
        }
        self.memory.begin();
        self.scope_state.set(l);
        self.rehooking.set(true);
        compiler_fence(Ordering::SeqCst);
        self.scope.set(scope);
        if outermost {
            self.pthread.set(thread_identity());
            if self.follows.get() {
                self.follow_to_this_thread();
            }
            record
                .owner
                .store(Thread::current().to_bits(), Ordering::Release);
        }
        self.publish();
        if scope.budget.get().is_some() {
            self.recounted.set(scope.started);
            self.uncounted.set(0);
            self.for_each_scope(|s| {
                if !ptr::eq(s, scope)
                    && let Some(left) = s.budget.get()
                {
                    s.budget.set(Some(left.saturating_sub(COUNT_STEP)));
                }
            });
            hook::start_counting(self);
        }
        compiler_fence(Ordering::SeqCst);
        self.rehooking.set(false);
        if scope.deadline.get() <= scope.started
            || scope.cpu_until.get() <= nanos(scope.cpu_started)
            || scope.budget.get().is_some_and(|n| n <= 0)
        {
            self.ask_self(CHECK); // a limit of zero needs no timer
        }
    }

    fn publish_clock(&self) {
        let clock = ThreadClock::current().to_bits();
        self.record().cpu_clock.store(clock, Ordering::Relaxed);
    }

    /// Copies the limits in force to where the timer thread and the allocator look, and arms the alarm.
    pub fn publish(&self) {
        let record = self.record();
        // SAFETY: the innermost open scope, if any.
        let scope = unsafe { self.scope.get().as_ref() };
        let deadline = scope.map_or(Ticks::NEVER, |s| s.earliest.get());
        let cpu = scope.map_or(u64::MAX, |s| s.cpu_earliest.get());
        self.memory
            .set_limit(scope.map_or(usize::MAX, |s| s.memory_least.get()));
        record
            .deadline
            .store(deadline.as_nanos(), Ordering::Relaxed);
        record.cpu_until.store(cpu, Ordering::Relaxed);
        record.scoped.store(scope.is_some(), Ordering::Relaxed);
        if scope.is_none() {
            let sweeps = record.next_sweep() != Ticks::NEVER;
            if self.follows.get() && (record.request.flags() != 0 || sweeps) {
                record.arm(Ticks::now()); // a coroutine has been interrupted by its id
            } else {
                match record.watching.next_look() {
                    Ticks::NEVER => record.disarm(),
                    at => record.arm(at),
                }
            }
            return;
        }
        let mut at = deadline
            .min(record.next_sweep())
            .min(record.watching.next_look());
        let counting = self.least_budget().is_some();
        record.counting.store(counting, Ordering::Relaxed);
        if counting {
            at = at.min(Ticks::now().after(RECOUNT_STEP));
        }
        if cpu != u64::MAX {
            // A thread gets no more CPU time than time passes, so nothing is due before this.
            let used = ThreadClock::current().read().unwrap_or_default();
            let left = cpu.saturating_sub(nanos(used));
            at = at.min(Ticks::now().after(Duration::from_nanos(left)));
        }
        record.arm(at);
        if record.request.flags() != 0 {
            record.arm(Ticks::now()); // see `record`, "No request is lost"
        }
    }

    /// Closes the innermost scope. True if a stop goes on in a scope around it.
    pub fn leave(&self, scope: &Scope) -> bool {
        let record = self.record();
        let outermost = scope.outer.is_null();
        if self.main.get().is_null() {
            self.scope.set(scope.outer);
            record.scoped.store(false, Ordering::Relaxed);
            record.closing.store(false, Ordering::Relaxed);
            record.disarm();
            return false;
        }
        self.scope.set(scope.outer);
        let mut goes_on = false;
        self.for_each_scope(|s| goes_on |= s.hit.get().is_some());
        if !goes_on {
            // First no handler finds a request, then the hooks go.
            self.place.clear_pending();
            record.request.answer(if outermost {
                CHECK | INTERRUPT | KILL | SWEEP
            } else {
                CHECK | SWEEP
            });
            if outermost && !self.follows.get() {
                record.owner.store(0, Ordering::Release);
            }
            record.settled();
            compiler_fence(Ordering::SeqCst);
            // Setting a count hook anew forgets what has been counted: so not without need, and never for nothing.
            let counting = self.least_budget().is_some();
            if self.delivered.get() {
                jit::sweep(self);
            }
            if self.delivered.replace(false) || self.hooked.get() && !counting {
                self.hooked.set(false);
                self.rehooking.set(true);
                compiler_fence(Ordering::SeqCst);
                hook::remove_everywhere(self);
                if counting {
                    self.charge(COUNT_STEP);
                    hook::start_counting(self);
                }
                compiler_fence(Ordering::SeqCst);
                self.rehooking.set(false);
            }
            if !counting && (outermost || self.jit.get() == Jit::Guarded) {
                self.compile_again();
            }
            self.start_collector();
            hookless::forget(self);
            self.memory.settle();
        }
        // SAFETY: the scope around this one is open. It may be none.
        let outer = unsafe { scope.outer.as_ref() };
        self.scope_state
            .set(outer.map_or(self.main.get(), |o| o.l.get()));
        self.publish();
        self.go_on_ending();
        goes_on
    }

    /// What has to end now, if anything: the outermost scope that is due.
    pub fn verdict(&self) -> Option<Reason> {
        self.drop_abandoned();
        let flags = self.record().request.flags();
        if flags & (INTERRUPT | KILL) != 0 {
            let reason = if flags & INTERRUPT != 0 {
                Reason::Interrupt
            } else {
                Reason::Kill
            };
            self.for_each_scope(|s| {
                if s.outer.is_null() {
                    s.hit(reason);
                }
            });
        }
        let now = Ticks::now();
        let mut cpu = Duration::ZERO;
        // SAFETY: the innermost open scope, if any.
        if unsafe { self.scope.get().as_ref() }.is_some_and(|s| s.cpu_earliest.get() != u64::MAX) {
            cpu = ThreadClock::current().read().unwrap_or_default();
        }
        let mut verdict = None;
        self.for_each_scope(|s| {
            s.look(now, cpu);
            verdict = s.hit.get().or(verdict);
        });
        verdict
    }

    /// Asks on the owner thread itself, and delivers at once.
    pub fn ask_self(&self, flags: u64) {
        let record = self.record();
        if record.request.ask(record.request.generation(), flags) {
            self.place.set_pending();
            hook::act(self, flags);
            record.arm(Ticks::now()); // asks again until it is answered
        }
    }

    /// The fewest instructions that any open scope has left; none: nobody counts.
    pub fn least_budget(&self) -> Option<i64> {
        let mut least = None;
        self.for_each_scope(|s| {
            if let Some(n) = s.budget.get() {
                least = Some(least.map_or(n, |l: i64| l.min(n)));
            }
        });
        least
    }

    /// Takes `n` instructions from every budget.
    pub fn charge(&self, n: i64) {
        self.for_each_scope(|s| {
            if let Some(left) = s.budget.get() {
                s.budget.set(Some(left.saturating_sub(n)));
            }
        });
    }

    /// A new coroutine starts a count of its own, of which up to a step is never seen.
    #[inline]
    pub fn charge_for_coroutine(&self) {
        if !self.scope.get().is_null() {
            self.charge(COUNT_STEP);
        }
    }

    /// The next base count for a count hook.
    pub fn count_step(&self) -> c_int {
        self.least_budget()
            .unwrap_or(COUNT_STEP)
            .clamp(1, COUNT_STEP) as c_int
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
