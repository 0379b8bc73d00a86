//! What is counted while it is spent: instructions, and the CPU time of calls that may be suspended.
//!
//! **Instructions**: the count hook runs every so many of them, and takes them from all budgets in force. A hook of PUC Lua counts for its own coroutine, so what
//! is counted is what ran there. LuaJIT has one count for all: what others have run since is taken from whoever runs when it ends, and
//! the other way round. That is fair on average, if a script cannot tell when it ends: so once a call has been seen asleep, the count has a
//! different length each time.
//!
//! **CPU time**: a call that is never suspended compares the thread's clock with its beginning. For one that may be, nobody tells when a coroutine goes
//! and comes, so it is sampled: about every millisecond of CPU time, at a moment that nobody can foresee, the time since the last look is
//! charged to the calls that are in force then.

use crate::limits::nanos;
use crate::record::unforeseen;
use crate::request::CHECK;
use crate::state::{COUNT_STEP, State};
use std::ffi::c_int;
use std::sync::atomic::Ordering;
use watchdog::{Ticks, cpu::ThreadClock};

impl State {
    /// The fewest instructions that any open call has left; none: nobody counts. A call that is asleep is among them: the count has to go on
    /// everywhere, for it may be resumed from anywhere.
    pub fn least_budget(&self) -> Option<i64> {
        let mut least: Option<i64> = None;
        self.for_each_open(|s| {
            if let Some(n) = s.budget.get() {
                // One that is asleep does not make the steps of others shorter.
                let n = if s.is_asleep() { n.max(COUNT_STEP) } else { n };
                least = Some(least.map_or(n, |l| l.min(n)));
            }
        });
        least
    }

    /// Takes `n` instructions from every budget in force.
    pub fn charge(&self, n: i64) {
        self.for_each_open(|s| {
            if let Some(left) = s.budget.get() {
                if s.is_asleep() {
                    self.shuffles.set(true);
                } else {
                    s.budget.set(Some(left.saturating_sub(n)));
                }
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
        let most = if cfg!(feature = "luajit") && self.shuffles.get() {
            unforeseen(Ticks::now(), 2 * COUNT_STEP as u64 - 1) as i64 + 1
        } else {
            COUNT_STEP
        };
        self.least_budget().unwrap_or(most).clamp(1, most) as c_int
    }

    /// Charges CPU time. **Signal context**; owner thread.
    pub fn sample(&self) {
        let record = self.record();
        if !record.sampling.load(Ordering::Relaxed) {
            return;
        }
        let clock = ThreadClock::current();
        let now = clock.read().unwrap_or_default();
        let last = self.cpu_sampled.replace(now);
        let was = record.cpu_clock.swap(clock.to_bits(), Ordering::Relaxed);
        if was != clock.to_bits() {
            return; // the state has come to another thread
        }
        let mut due = false;
        self.for_each_scope(|s| {
            if s.suspends && s.cpu_until.get() != u64::MAX {
                let spent = now.saturating_sub(last.max(s.cpu_started));
                let used = s.cpu_used.get().saturating_add(nanos(spent));
                s.cpu_used.set(used);
                due |= s.cpu_until.get() <= nanos(s.cpu_at(now));
            }
        });
        if due {
            self.ask_self(CHECK);
        }
    }
}
