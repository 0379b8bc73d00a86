//! Entering and leaving a call with limits.
//!
//! What must be true: a handler that interrupts any of this finds a whole. So a scope is complete before it is linked; the owner is
//! stored last on entering, and taken away first on leaving; count hooks that are being set or taken away are marked as such
//! (`rehooking`). Each change re-arms the one alarm of the state for whatever is due first ([`State::publish`]). Which calls are in force
//! is looked up in [`crate::asleep`].

use crate::hook;
use crate::hookless;
use crate::jit::{self, Jit};
use crate::limits::{Reason, nanos};
use crate::record::{RECOUNT_STEP, SAMPLE_STEP, thread_identity};
use crate::request::{CHECK, INTERRUPT, KILL, RECOUNT, SWEEP, WATCH};
use crate::scope::Scope;
use crate::state::{COUNT_STEP, State};
use crate::sys::lua_State;
use crate::warning::Place;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence, fence};
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock, poke::Thread};

impl State {
    /// Opens a scope for code that runs in its coroutine.
    #[inline]
    pub fn enter(&self, scope: &Scope) {
        let record = self.record();
        let outermost = self.scope.get().is_null();
        if outermost {
            jit::unmark(self); // a late delivery
            // Requests were for calls that are over.
            self.answer(CHECK | INTERRUPT | KILL | RECOUNT | SWEEP);
            record.settled();
            if !self.is_late_unseen(scope.l) {
                self.unanswered.set(0);
            }
            self.traceback.borrow_mut().clear();
            self.shuffles.set(false);
            record
                .started
                .store(scope.started.as_nanos(), Ordering::Relaxed);
        }
        if scope.cpu_until.get() != u64::MAX {
            self.publish_clock();
        }
        self.memory.begin();
        self.rehooking.set(true);
        compiler_fence(Ordering::SeqCst);
        self.add(scope);
        if outermost {
            if !self.follows.get() {
                self.pthread.set(thread_identity());
                record
                    .owner
                    .store(Thread::current().to_bits(), Ordering::Release);
            } else if self.is_elsewhere() {
                self.follow_to_this_thread(); // else it has: a guest does when its module is entered
            }
        }
        if !self.publish_entered(scope) {
            self.publish();
        }
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
            || scope.limits.cpu.get() == Some(0)
            || scope.budget.get().is_some_and(|n| n <= 0)
        {
            self.ask_self(CHECK); // a limit of zero needs no timer
        }
    }

    /// The clock of the thread that runs this.
    fn publish_clock(&self) {
        let clock = ThreadClock::current();
        let clock_was = self
            .record()
            .cpu_clock
            .swap(clock.to_bits(), Ordering::Relaxed);
        if clock_was != clock.to_bits() || !self.record().sampling.load(Ordering::Relaxed) {
            self.cpu_sampled.set(clock.read().unwrap_or_default());
        }
    }

    /// What [`publish`](State::publish) does, for a scope that has just been entered, if nothing but points in time concern it and those around it: the usual
    /// case, which is to cost little. False: it does not hold, and nothing has been done.
    #[inline]
    fn publish_entered(&self, scope: &Scope) -> bool {
        let record = self.record();
        let usual = scope.is_timed_only()
            && !self.dozing.get()
            && record.cpu_until.load(Ordering::Relaxed) == u64::MAX
            && !record.counting.load(Ordering::Relaxed)
            && !record.sampling.load(Ordering::Relaxed)
            && record.looks_for_nothing_else();
        if !usual {
            return false;
        }
        let deadline =
            Ticks::from_nanos(record.deadline.load(Ordering::Relaxed)).min(scope.due_at());
        self.scope_state.set(scope.l);
        record
            .deadline
            .store(deadline.as_nanos(), Ordering::Relaxed);
        record.scoped.store(true, Ordering::Relaxed);
        if scope.suspends {
            record.suspends.store(true, Ordering::Relaxed);
        }
        if record.lookout.has_to_be_told(deadline.as_nanos()) {
            self.tell_timer_of(deadline);
        }
        true
    }

    /// The timer thread would look later than that.
    #[cold]
    fn tell_timer_of(&self, deadline: Ticks) {
        let record = self.record();
        record.lookout.told(deadline.as_nanos());
        record.arm(deadline);
        if record.request.flags() != 0 {
            record.arm(Ticks::now()); // see `record`, "No request is lost"
        }
    }

    /// What [`settle`](State::settle) does, if there is nothing to settle: the last call has ended by itself, and nothing has been asked for. False: it
    /// does not hold; then all is still to be done.
    #[inline]
    fn leave_quietly(&self, scope: &Scope) -> bool {
        let record = self.record();
        let usual = self.is_undisturbed()
            && scope.is_timed_only()
            && !self.has_calls()
            && !self.dozing.get()
            && !self.collector_stopped.get()
            && self.wards.is_empty()
            && record.looks_for_nothing_else();
        if !usual {
            return false;
        }
        if !self.follows.get() {
            record.owner.store(0, Ordering::Release);
        }
        record.settled();
        self.compile_again();
        hookless::forget(self);
        self.memory.settle();
        self.scope_state.set(self.main.get());
        record.deadline.store(u64::MAX, Ordering::Relaxed);
        record.scoped.store(false, Ordering::Relaxed);
        record.suspends.store(false, Ordering::Relaxed);
        // The alarm stays armed: whoever asks for something now has it rung, and to take that away costs a fence and another look. The timer thread
        // finds no call when it rings. A handler that has interrupted this has found none, either; but what it was told of may have left something to do.
        compiler_fence(Ordering::SeqCst);
        self.is_undisturbed()
    }

    /// Nothing is asked for, and no hook of ours is anywhere.
    #[inline]
    fn is_undisturbed(&self) -> bool {
        self.record().request.flags() == 0 && !self.delivered.get() && !self.hooked.get()
    }

    /// Copies the limits in force to where the timer thread and the allocator look, and arms the alarm. Those of calls that are asleep
    /// are among them, for nobody tells when they wake up: whoever finds that one is reached looks whose it is.
    pub fn publish(&self) {
        let record = self.record();
        let mut deadline = self.parked_until.get();
        let (mut cpu, mut memory) = (u64::MAX, usize::MAX);
        let (mut counting, mut sampling, mut suspends) = (false, false, self.dozing.get());
        let mut sigint = u64::MAX;
        self.for_each_open(|s| {
            suspends |= s.suspends;
            if !s.is_marked() || !s.is_asleep() {
                deadline = deadline.min(s.due_at());
            }
            if s.suspends {
                sampling |= s.cpu_until.get() != u64::MAX;
            } else {
                cpu = cpu.min(s.cpu_until.get());
            }
            memory = memory.min(s.memory_until.get());
            counting |= s.budget.get().is_some();
            sigint = sigint.min(s.sigint_since());
        });
        record.sigint.store(sigint, Ordering::Release); // `sigint::has_takers`
        self.memory.set_limit(memory);
        self.scope_state.set(self.newest_caller());
        record
            .deadline
            .store(deadline.as_nanos(), Ordering::Relaxed);
        record.cpu_until.store(cpu, Ordering::Relaxed);
        let scoped = !self.scope.get().is_null();
        record.scoped.store(scoped, Ordering::Relaxed);
        record.counting.store(counting, Ordering::Relaxed);
        record.sampling.store(sampling, Ordering::Relaxed);
        record.suspends.store(suspends, Ordering::Relaxed);
        let poll = record.poll(self.dozing.get());
        if !scoped && deadline == Ticks::NEVER && poll == Ticks::NEVER {
            let sweeps = record.next_sweep() != Ticks::NEVER;
            if self.follows.get() && (record.request.flags() != 0 || sweeps) {
                record.arm(Ticks::now()); // a coroutine has been interrupted by its id
            } else {
                match record
                    .watching
                    .sampling
                    .next_look()
                    .min(record.lookout.at())
                {
                    Ticks::NEVER => record.disarm(),
                    at => record.arm(at),
                }
                fence(Ordering::SeqCst);
                if self.follows.get() && record.request.flags() != 0 {
                    record.arm(Ticks::now()); // it has been, meanwhile
                }
            }
            return;
        }
        let mut at = deadline
            .min(poll)
            .min(record.next_sweep())
            .min(record.watching.sampling.next_look())
            .min(Ticks::from_nanos(record.watching.until()))
            .min(record.lookout.at());
        if counting {
            at = at.min(Ticks::now().after(RECOUNT_STEP));
        }
        if sampling {
            at = at.min(Ticks::now().after(SAMPLE_STEP));
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

    /// Closes a scope. True if a stop goes on in a scope around it.
    pub fn leave(&self, scope: &Scope) -> bool {
        if self.main.get().is_null() {
            let record = self.record();
            self.scope.set(ptr::null());
            record.scoped.store(false, Ordering::Relaxed);
            record.closing.store(false, Ordering::Relaxed);
            record.disarm();
            return false;
        }
        self.remove(scope);
        self.refresh();
        if self.leave_quietly(scope) {
            return false;
        }
        self.look_around();
        let unanswered = self.unanswered.get();
        let goes_on = self.settle();
        if self.is_late_unseen(scope.l) {
            self.unanswered.set(self.unanswered.get().max(unanswered));
        }
        goes_on
    }

    /// A coroutine is late, and a finalizer runs in `l`, perhaps its own: then vain deliveries are not counted anew with each call that begins or ends, or hooks would never
    /// be switched on in it.
    fn is_late_unseen(&self, l: *mut lua_State) -> bool {
        // SAFETY: `l` makes a call, so it is live, on this thread.
        self.record().request.flags() & WATCH != 0 && unsafe { hookless::is_unseen(self, l) }
    }

    /// A call has ended: has a limit of one around it been reached meanwhile? Where hooks are off, in a finalizer, no hook tells; and what a delivery has set is
    /// taken away at the end of each call. So a finalizer that does nothing but call with limits would run on.
    fn look_around(&self) {
        let flags = self.record().request.flags();
        let is_asked = flags & (CHECK | INTERRUPT | KILL) != 0 && !self.is_stopping();
        if is_asked && self.has_calls() && self.verdict().is_some() {
            hook::trace_from_allocator(self, ptr::null());
        }
    }

    /// A scope has gone: so does what was there for it, unless another one needs it. True if a stop goes on.
    pub fn settle(&self) -> bool {
        let record = self.record();
        let outermost = self.scope.get().is_null();
        let goes_on = self.is_stopping();
        if !goes_on {
            // First no handler finds a request, then the hooks go.
            self.answer(if outermost {
                CHECK | INTERRUPT | KILL | SWEEP
            } else {
                CHECK | SWEEP
            });
            if outermost && !self.follows.get() {
                record.owner.store(0, Ordering::Release);
            }
            record.settled();
            hookless::forget(self); // from here on the allocator sets no hook
            compiler_fence(Ordering::SeqCst);
            // Setting a count hook anew forgets what has been counted: so not without need, and never for nothing.
            let counting = self.least_budget().is_some();
            if self.delivered.get() {
                jit::sweep(self);
            }
            if self.delivered.replace(false) || self.hooked.get() && !counting {
                self.hooked.set(false);
                // A poke from here on is to find what is in force now. It would take the limit that is over for one that is due, and hook again
                // those from which the hook has just gone.
                self.publish();
                self.rehooking.set(true);
                compiler_fence(Ordering::SeqCst);
                hook::only_count(self);
                compiler_fence(Ordering::SeqCst);
                self.rehooking.set(false);
            }
            if !counting && (outermost || self.jit.get() == Jit::Guarded) {
                self.compile_again();
            }
            self.start_collector();
            self.memory.settle();
        }
        self.publish();
        self.go_on_ending();
        goes_on
    }

    /// The outermost call in force has to end. False if there is none. (The list does not tell which that is, once one of them was asleep.)
    pub fn hit_outermost(&self, reason: Reason) -> bool {
        self.look_who_is_awake();
        let mut outermost: Option<(Place, *const Scope)> = None;
        self.for_each_scope(|s| {
            let place = self.place_of(s);
            if outermost.is_none_or(|(other, _)| place > other) {
                outermost = Some((place, s));
            }
        });
        // SAFETY: an open scope.
        let outermost = outermost.map(|(_, scope)| unsafe { &*scope });
        outermost.inspect(|s| s.hit(reason)).is_some()
    }

    /// Whether a check may find anything: in doubt, yes. **Signal context**: nothing but reads. (The deadline of a call that is asleep is among what is published, and
    /// what is noted late is asked for again.)
    pub fn may_be_due(&self) -> bool {
        let r = self.record();
        self.has_calls()
            && (r.deadline.load(Ordering::Relaxed) <= Ticks::now().as_nanos()
                || r.cpu_until.load(Ordering::Relaxed) != u64::MAX
                || r.counting.load(Ordering::Relaxed)
                || r.sampling.load(Ordering::Relaxed)
                || r.sigint.load(Ordering::Relaxed) != u64::MAX
                || self.dozing.get()
                || self.memory.wants_collection()
                || self.memory.may_have_run_out()
                || self.is_stopping())
    }

    /// Memory has run out for the calls that may not use so many bytes.
    pub fn memory_ran_out(&self, wanted: usize) {
        self.for_each_scope(|s| {
            if wanted > s.memory_until.get() {
                s.hit(Reason::Memory);
            }
        });
    }

    /// What has to end now, if anything: the outermost scope that is due.
    pub fn verdict(&self) -> Option<Reason> {
        self.refresh();
        if let Some(wanted) = self.memory.ran_out_unseen() {
            self.memory_ran_out(wanted);
        }
        let flags = self.record().request.flags();
        if flags & (INTERRUPT | KILL) != 0 {
            let reason = if flags & INTERRUPT != 0 {
                Reason::Interrupt
            } else {
                Reason::Kill
            };
            self.hit_outermost(reason);
        }
        let now = Ticks::now();
        let changed = self.look_at_asleep(now, flags & CHECK != 0);
        let mut cpu = Duration::ZERO;
        if self.record().cpu_until.load(Ordering::Relaxed) != u64::MAX {
            cpu = ThreadClock::current().read().unwrap_or_default();
        }
        let (mut verdict, mut changed) = (None, changed);
        self.for_each_scope(|s| {
            s.look(now, cpu);
            if s.hit.get().is_some() && !self.is_still_there(s) {
                self.remove(s);
                self.scopes.give_back(s);
                changed = true;
                return;
            }
            verdict = s.hit.get().or(verdict);
        });
        if changed {
            self.publish();
        }
        verdict
    }

    /// Takes `flags` away from what is asked for; and the mark for the signal handler, if nothing else is. A poke for something else may be on its
    /// way: between the mark and the signal are microseconds, in which code that does nothing but call with limits comes by here several times, and
    /// each time the handler found no mark. **Signal context**; owner thread.
    pub fn answer(&self, flags: u64) {
        let request = &self.record().request;
        if request.answer(flags) & !flags == 0 {
            self.place.clear_pending();
            if request.flags() != 0 {
                self.place.set_pending(); // asked for in between
            }
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;
    use crate::limits::Limits;
    use crate::sys;
    use std::ffi::c_int;

    unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
        0
    }

    fn an_hour() -> Limits {
        Limits::new().timeout(Duration::from_secs(3600))
    }

    /// As in a finalizer, where hooks are off: the call around this one is late, and has been asked to end.
    unsafe extern "C-unwind" fn is_late(l: *mut lua_State) -> c_int {
        let state = crate::hook::state_of(l).unwrap();
        // SAFETY: as `is_told_when_a_call_inside_it_ends`.
        unsafe {
            let guest = Guest::of(l).unwrap();
            state.for_each_scope(|s| s.deadline.set(Ticks::from_nanos(1)));
            state.publish();
            assert!(
                state
                    .record()
                    .request
                    .ask(state.record().request.generation(), CHECK)
            );
            sys::lua_pushcfunction(l, nothing);
            let stop = guest.call(l, 0, 0, 0, &an_hour()).unwrap_err();
            assert!(stop.enclosing);
            assert_eq!(stop.reason, Reason::Timeout);
        }
        0
    }

    #[test]
    fn is_told_when_a_call_inside_it_ends() {
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            let guest = Guest::attach(l).unwrap();
            sys::lua_pushcfunction(l, is_late);
            let stop = guest.call(l, 0, 0, 0, &an_hour()).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout);
            assert!(!stop.enclosing);
            sys::lua_close(l);
        }
    }
}
