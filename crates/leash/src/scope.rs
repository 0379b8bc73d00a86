//! One open call with limits, and the decision what is due.
//!
//! A scope is opened and closed by [`crate::call`] and is linked to the scope around it. Only the owner thread looks at it: the
//! hook when an interrupt lands, the allocator when memory is refused. What other threads need of it (the earliest deadline) is
//! copied into the [record](crate::record).
//!
//! Scopes lie in memory of the state's own ([`Scopes`]), one place for each depth, and not in the frame of the call: a call can be left
//! without a return. `lua_pcall` catches every error, but in 5.5 a coroutine may close itself (`coroutine.close()`), which jumps over
//! all protected calls in it. Such a scope is [abandoned](Scope::is_abandoned), which its coroutine shows, and is dropped by whoever looks next.
//!
//! **Who stops where**: the outermost scope that is due is the one that ends; what is inside it goes with it. So a script cannot
//! contain a stop by a call of its own, however it limits that.

use crate::jit::Jit;
use crate::limits::{Limits, Reason};
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// See the module's header. Plain data: a Lua error may jump over it.
pub struct Scope {
    /// The scope around this one, or null.
    pub outer: *const Scope,
    /// How many scopes are around this one.
    pub depth: usize,
    /// The coroutine that has made the call; null: it has been collected since.
    pub l: Cell<*mut lua_State>,
    /// See [`is_abandoned`](Scope::is_abandoned).
    can_vanish: bool,
    /// When the call began.
    pub started: Ticks,
    /// The thread's CPU time then.
    pub cpu_started: Duration,
    /// This scope's own limits, absolute: point in time; nanoseconds of the CPU clock; bytes in use.
    pub deadline: Cell<Ticks>,
    /// See `deadline`.
    pub cpu_until: Cell<u64>,
    /// See `deadline`.
    pub memory_until: Cell<usize>,
    /// Instructions left; none: not counted.
    pub budget: Cell<Option<i64>>,
    /// The earliest deadline of this and all outer scopes, and so on.
    pub earliest: Cell<Ticks>,
    /// See `earliest`.
    pub cpu_earliest: Cell<u64>,
    /// See `earliest`.
    pub memory_least: Cell<usize>,
    /// When to warn, as `Ticks` ([`crate::warning`]), and what else that takes.
    pub warn_at: Cell<Ticks>,
    /// What was asked for.
    pub limits: Limits,
    /// Set once this scope has to end.
    pub hit: Cell<Option<Reason>>,
}

impl Scope {
    /// LuaJIT: whether what runs inside must not be compiled: instructions are counted, or compiled code could not be stopped.
    pub fn must_be_interpreted(&self, state: &State) -> bool {
        self.budget.get().is_some() || state.jit.get() == Jit::Interpreted
    }

    /// Starts the clocks of `limits` inside `outer`.
    ///
    /// # Safety
    /// `outer` is null or an open scope of the same state; `l` is a coroutine of it.
    pub unsafe fn new(
        limits: &Limits,
        outer: *const Scope,
        l: *mut lua_State,
        used: usize,
    ) -> Scope {
        let started = Ticks::now();
        // SAFETY: by the caller.
        let can_vanish = sys::CLOSES_ITSELF && unsafe { has_frame(l) };
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
        let warn_at = limits.warn.map_or(Ticks::NEVER, |w| started.after(w.0));
        let due = deadline.min(warn_at);
        // SAFETY: by the caller.
        let around = unsafe { outer.as_ref() };
        Scope {
            outer,
            depth: around.map_or(0, |o| o.depth + 1),
            l: Cell::new(l),
            can_vanish,
            started,
            cpu_started,
            deadline: Cell::new(deadline),
            cpu_until: Cell::new(cpu_until),
            memory_until: Cell::new(memory_until),
            warn_at: Cell::new(warn_at),
            limits: limits.clone(),
            budget: Cell::new(
                limits
                    .instructions
                    .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            ),
            earliest: Cell::new(around.map_or(due, |o| o.earliest.get().min(due))),
            cpu_earliest: Cell::new(
                around.map_or(cpu_until, |o| o.cpu_earliest.get().min(cpu_until)),
            ),
            memory_least: Cell::new(
                around.map_or(memory_until, |o| o.memory_least.get().min(memory_until)),
            ),
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
        if self.deadline.get() <= now {
            self.hit(Reason::Timeout);
        }
        if self.cpu_until.get() != u64::MAX && Duration::from_nanos(self.cpu_until.get()) <= cpu {
            self.hit(Reason::Cpu);
        }
        if self.budget.get().is_some_and(|n| n <= 0) {
            self.hit(Reason::Instructions);
        }
    }

    /// Whether the call is gone without having been left.
    ///
    /// A coroutine in which a function has made the call runs, or waits for one that it has resumed: it has a frame. One that has closed
    /// itself has none. (Its host could use it again: then it looks as if the call were still open, until it ends the next time.)
    pub fn is_abandoned(&self) -> bool {
        let l = self.l.get();
        // SAFETY: not collected, so live.
        self.can_vanish && (l.is_null() || !unsafe { has_frame(l) })
    }
}

/// Whether any function is active in `l`.
unsafe fn has_frame(l: *mut lua_State) -> bool {
    // SAFETY: `l` is live, by the caller. `lua_Debug` is plain data, of which zero is a value, and is only written.
    unsafe { sys::lua_getstack(l, 0, &mut std::mem::zeroed()) != 0 }
}

impl State {
    /// A coroutine is being freed: calls that it has made are abandoned.
    pub fn forget_calls_of(&self, co: *mut lua_State) {
        if sys::CLOSES_ITSELF {
            self.for_each_scope(|s| {
                if s.l.get() == co {
                    s.l.set(ptr::null_mut());
                }
            });
        }
    }

    /// Closes scopes that were left without a return, up to the outermost of them. True if there were any.
    pub fn drop_abandoned(&self) -> bool {
        if !sys::CLOSES_ITSELF {
            return false;
        }
        let mut last = None;
        self.for_each_scope(|s| {
            if s.is_abandoned() {
                last = Some(ptr::from_ref(s));
            }
        });
        let Some(last) = last else {
            return false;
        };
        // SAFETY: an open scope of this state, in place.
        self.leave(unsafe { &*last });
        true
    }
}

/// Where the scopes of a state lie: one for each depth, made when it is first needed.
#[derive(Default)]
pub struct Scopes(RefCell<Vec<*mut Scope>>);

impl Scopes {
    /// A place for a scope of this depth, at most one more than has been asked for before. What was there is not linked any more.
    pub fn put(&self, scope: Scope) -> *const Scope {
        let mut places = self.0.borrow_mut();
        match places.get(scope.depth) {
            Some(&place) => {
                // SAFETY: allocated below; a scope of this depth is closed, so nobody looks at it.
                unsafe { place.write(scope) };
                place
            }
            None => {
                let place = Box::into_raw(Box::new(scope));
                places.push(place);
                place
            }
        }
    }
}

impl Drop for Scopes {
    fn drop(&mut self) {
        for place in self.0.get_mut().drain(..) {
            // SAFETY: from `Box::into_raw`, once.
            drop(unsafe { Box::from_raw(place) });
        }
    }
}
