//! One open call with limits, and the decision what is due.
//!
//! A scope lives in the frame of [`crate::Vm::call`] and is linked to the scope around it. Only the owner thread looks at it: the
//! hook when an interrupt lands, the allocator when memory is refused. What other threads need of it (the earliest deadline) is
//! copied into the [record](crate::record).
//!
//! **Who stops where**: the outermost scope that is due is the one that ends; what is inside it goes with it. So a script cannot
//! contain a stop by a call of its own, however it limits that.

use crate::limits::{Limits, Reason};
use std::cell::Cell;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// See the module's header. Plain data: a Lua error may jump over it.
pub struct Scope {
    /// The scope around this one, or null.
    pub outer: *const Scope,
    /// How many scopes are around this one.
    pub depth: u32,
    /// When the call began.
    pub started: Ticks,
    /// The thread's CPU time then.
    pub cpu_started: Duration,
    /// This scope's own limits, absolute: point in time; nanoseconds of the CPU clock; bytes in use.
    pub deadline: Ticks,
    /// See `deadline`.
    pub cpu_until: u64,
    /// See `deadline`.
    pub memory_until: usize,
    /// Instructions left; none: not counted.
    pub budget: Cell<Option<i64>>,
    /// The earliest deadline of this and all outer scopes, and so on.
    pub earliest: Ticks,
    /// See `earliest`.
    pub cpu_earliest: u64,
    /// See `earliest`.
    pub memory_least: usize,
    /// Set once this scope has to end.
    pub hit: Cell<Option<Reason>>,
}

impl Scope {
    /// Starts the clocks of `limits` inside `outer`.
    ///
    /// # Safety
    /// `outer` is null or an open scope of the same state.
    pub unsafe fn new(limits: &Limits, outer: *const Scope, used: usize) -> Scope {
        let started = Ticks::now();
        // The CPU clock costs a system call (DESIGN section 4, "Clocks cost"), so it is read only for those who limit it; the
        // report of other stops does without.
        let cpu_started = match limits.cpu {
            Some(_) => ThreadClock::current().read().unwrap_or_default(),
            None => Duration::ZERO,
        };
        let deadline = limits.timeout.map_or(Ticks::NEVER, |t| started.after(t));
        let cpu_until = limits.cpu.map_or(u64::MAX, |t| {
            u64::try_from(cpu_started.saturating_add(t).as_nanos()).unwrap_or(u64::MAX)
        });
        let memory_until = limits.memory.map_or(usize::MAX, |m| used.saturating_add(m));
        // SAFETY: by the caller.
        let around = unsafe { outer.as_ref() };
        Scope {
            outer,
            depth: around.map_or(0, |o| o.depth + 1),
            started,
            cpu_started,
            deadline,
            cpu_until,
            memory_until,
            budget: Cell::new(
                limits
                    .instructions
                    .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            ),
            earliest: around.map_or(deadline, |o| o.earliest.min(deadline)),
            cpu_earliest: around.map_or(cpu_until, |o| o.cpu_earliest.min(cpu_until)),
            memory_least: around.map_or(memory_until, |o| o.memory_least.min(memory_until)),
            hit: Cell::new(None),
        }
    }

    /// This scope has to end, for `reason`, unless another reason came first.
    pub fn hit(&self, reason: Reason) {
        if self.hit.get().is_none() {
            self.hit.set(Some(reason));
        }
    }

    /// Looks at the clocks, and marks the scope if it is due.
    pub fn look(&self, now: Ticks, cpu: Duration) {
        if self.deadline <= now {
            self.hit(Reason::Timeout);
        }
        if self.cpu_until != u64::MAX && Duration::from_nanos(self.cpu_until) <= cpu {
            self.hit(Reason::Cpu);
        }
        if self.budget.get().is_some_and(|n| n <= 0) {
            self.hit(Reason::Instructions);
        }
    }
}
