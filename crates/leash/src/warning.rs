//! A call that is told before its time is up.
//!
//! The point in time is one more thing that may be due in a [scope](crate::scope): the timer thread asks, and the hook looks. Then a
//! function of the module is called in the hook, which may have the limits start anew, or grant some time. It runs with hooks off, under the
//! limits that it warns of: when these are reached meanwhile, [`crate::hookless`] ends it as it ends hooks of the script.

use crate::request::{CHECK, WATCH};
use crate::scope::{Scope, nanos};
use crate::state::State;
use crate::sys::lua_State;
use crate::watch::{Extension, Warning};
use std::ptr;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

impl State {
    /// Warns, if it is time to; also if the time is up by now, as on a busy machine. **longjmp**: the module's function may raise.
    ///
    /// # Safety
    /// `l` runs the hook.
    pub unsafe fn look_at_warnings(&self, l: *mut lua_State) {
        let mut due: *const Scope = ptr::null();
        let mut now = None;
        self.for_each_scope(|s| {
            let mut is_due = |at| at != Ticks::NEVER && at <= *now.get_or_insert_with(Ticks::now);
            if s.hit.get().is_some() {
                due = ptr::null(); // what is inside goes with it
            } else if is_due(s.warn_at.get()) {
                due = s;
            } else if !due.is_null() && is_due(s.deadline.get()) {
                due = ptr::null();
            }
        });
        // SAFETY: an open scope. It stays open while the hook runs, for the hook is inside.
        let (Some(scope), Some(now)): (Option<&Scope>, _) = (unsafe { due.as_ref() }, now) else {
            return;
        };
        let Some((_, mark)) = scope.limits.warn else {
            return;
        };
        scope.warn_at.set(Ticks::NEVER); // once, also if the function raises
        self.publish();
        let warning = Warning {
            mark,
            elapsed: now.since(scope.started),
            timeout: scope.limits.timeout,
        };
        // SAFETY: by the caller; nothing here owns anything.
        match unsafe { self.warn(l, &warning) } {
            Extension::None => return,
            Extension::Afresh => self.start_afresh(scope),
            Extension::Grant(more) => grant(scope, more),
        }
        self.publish();
    }

    /// Asks the module's function. **longjmp**: it may raise.
    ///
    /// # Safety
    /// As [`look_at_warnings`](State::look_at_warnings). Nothing that owns anything is alive.
    pub unsafe fn warn(&self, l: *mut lua_State, warning: &Warning) -> Extension {
        // What has asked for this is answered. What is due besides is asked for again.
        self.record().request.answer(CHECK | WATCH);
        let mut wanted = Extension::None;
        if let Some(f) = self.wards.on_warn.get() {
            // SAFETY: by the caller.
            unsafe { f(l, warning, &mut wanted) };
        }
        wanted
    }

    fn start_afresh(&self, scope: &Scope) {
        let (now, limits) = (Ticks::now(), &scope.limits);
        if let Some(t) = limits.timeout {
            scope.deadline.set(now.after(t));
        }
        if let Some(t) = limits.cpu {
            let used = scope.cpu_at(ThreadClock::current().read().unwrap_or_default());
            scope.cpu_until.set(nanos(used.saturating_add(t)));
        }
        if let Some(n) = limits.instructions {
            scope.budget.set(Some(i64::try_from(n).unwrap_or(i64::MAX)));
        }
        if let Some(n) = limits.memory {
            let until = self.memory.used.get().saturating_add(n);
            scope.memory_until.set(until);
        }
        if let Some((t, _)) = limits.warn {
            scope.warn_at.set(now.after(t));
        }
    }
}

fn grant(scope: &Scope, more: Duration) {
    scope.deadline.set(match scope.deadline.get() {
        Ticks::NEVER => Ticks::NEVER,
        at => at.after(more),
    });
    scope
        .cpu_until
        .set(scope.cpu_until.get().saturating_add(nanos(more)));
}
