//! A call that is told before its time is up.
//!
//! The point in time is one more thing that may be due in a [scope](crate::scope): the timer thread asks, and the hook looks. Then a
//! function of the module is called in the hook, which may have the limits start anew, or grant some time. It runs with hooks off, under the
//! limits that it warns of: when these are reached meanwhile, [`crate::hookless`] ends it as it ends hooks of the script.
//!
//! **What comes first.** A call that is late is warned before its time is up, however late that is ([`Scope::has_expired`]): a suspended call is warned when its coroutine runs again
//! ([`crate::asleep`]), and by then it is common that all of it is over. So that the function can do its work, it has as long as it would have had in time. Of several
//! calls the outermost is warned first. But a stop goes on before anybody is warned: what is inside the call that ends goes with it, and what is around it is not to be warned in the midst of it.
//!
//! Which call is inside which tells the C stack: whoever was resumed has a frame below that of whoever has resumed it. (The list of open calls does not tell it, once one of them was asleep.)

use crate::limits::nanos;
use crate::request::{CHECK, WATCH};
use crate::scope::Scope;
use crate::state::State;
use crate::sys::lua_State;
use crate::watch::{Extension, Warning};
use std::cmp::Reverse;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// The address of the frame that runs its coroutine; in one coroutine, how many calls are around it.
pub type Place = (usize, Reverse<usize>);

impl State {
    /// Warns, if it is time to; also if the time is up by now, as on a busy machine. **longjmp**: the module's function may raise.
    ///
    /// # Safety
    /// `l` runs the hook.
    pub unsafe fn look_at_warnings(&self, l: *mut lua_State) {
        let mut warns = false;
        self.for_each_scope(|s| warns |= s.warn_at.get() != Ticks::NEVER);
        if !warns {
            return;
        }
        let now = Ticks::now(); // once: a function that has its limits start afresh all the time is not called for ever
        while let Some(scope) = self.to_be_warned(now) {
            let Some((_, mark)) = scope.limits.warn else {
                return;
            };
            let (deadline, warn_at) = (scope.deadline.get(), scope.warn_at.get());
            let rest = deadline.since(warn_at);
            scope.warn_at.set(Ticks::NEVER); // once, also if the function raises
            scope.deadline.set(deadline.max(now.after(rest)));
            self.publish();
            let warning = Warning {
                mark,
                elapsed: now.since(scope.started),
                timeout: scope.limits.timeout.duration(),
            };
            // SAFETY: by the caller; nothing here owns anything. The scope stays open while the hook runs, for the hook is inside.
            let wanted = unsafe { self.warn(l, &warning) };
            scope.deadline.set(deadline);
            match wanted {
                Extension::None => {}
                Extension::Afresh => self.start_afresh(scope),
                Extension::Grant(more) => grant(scope, more),
            }
            self.publish();
        }
    }

    /// The outermost call in force that is to be warned, if no stop comes before that.
    fn to_be_warned(&self, now: Ticks) -> Option<&Scope> {
        self.refresh();
        let mut due: Option<(Place, *const Scope)> = None;
        let (mut ends, mut dropped) = (false, false);
        self.for_each_scope(|s| {
            if s.hit.get().is_some() || s.has_expired(now) {
                ends = true;
            } else if s.warn_at.get() <= now {
                let place = self.place_of(s);
                if !self.is_still_there_now(s) {
                    self.remove(s);
                    self.scopes.give_back(s);
                    dropped = true;
                } else if due.is_none_or(|(outermost, _)| place > outermost) {
                    due = Some((place, s));
                }
            }
        });
        if dropped {
            self.publish();
        }
        let (_, scope) = due.filter(|_| !ends)?;
        // SAFETY: an open scope.
        Some(unsafe { &*scope })
    }

    /// How far out a call in force is: what is greater is further out.
    pub fn place_of(&self, scope: &Scope) -> Place {
        // SAFETY: the coroutine of a call in force is live.
        let frame = unsafe { self.layout.get().jump_of(scope.l) };
        (frame.unwrap_or(0), Reverse(scope.depth))
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
        if limits.timeout.get().is_some() {
            scope.deadline.set(limits.timeout.after(now));
        }
        if limits.cpu.get().is_some() {
            let used = scope.cpu_at(ThreadClock::current().read().unwrap_or_default());
            scope.cpu_until.set(limits.cpu.above(nanos(used)));
        }
        if let Some(n) = limits.instructions.budget() {
            scope.budget.set(Some(n));
        }
        if limits.memory.get().is_some() {
            let until = limits.memory.bytes_above(self.memory.used.get());
            scope.memory_until.set(until);
        }
        if let Some((t, _)) = limits.warn {
            scope.warn_at.set(t.after(now));
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
