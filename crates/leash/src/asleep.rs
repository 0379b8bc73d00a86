//! Which calls are in force: the lists of open scopes, and coroutines that are suspended inside a call.
//!
//! Two lists. In the **open** list are the scopes that are looked at, the newest first: those in force, and those asleep for which something
//! is counted, or of which nobody has noticed yet that they are asleep. In the **parked** list are those that have been seen asleep and
//! have nothing but a timeout, or a time to warn: nobody looks at them before the earliest of these among them. So thousands of suspended calls cost those that run nothing.
//! Besides, the scopes of one coroutine are linked, from its [entry](crate::coroutines::Entry): when it is collected, they go ([`State::forget_calls_of`]).
//!
//! **A limit is reached while suspended**, or the time to warn. The scope *dozes*: its points in time count no more, for nothing can be done before its coroutine
//! runs again; then it is warned, or ended. Who notices that? On PUC Lua our hook, which is left on that coroutine alone. LuaJIT has one hook for all: there the timer
//! thread has a look taken from time to time, at times that nobody can foresee, and each call that begins or ends looks, too. The looks are
//! also taken on PUC Lua, less often: a script can take the hook away (`debug.sethook(co)`).
//!
//! **Nothing of a call is in a frame**, so there is nothing to be unwound when a suspended coroutine is dropped.

use crate::coroutines::Entry;
use crate::hook;
use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};
use watchdog::Ticks;

/// Puts a scope in front. A signal handler that follows `outer` finds a whole list at any time.
fn link(list: &Cell<*const Scope>, scope: &Scope) {
    let old = list.get();
    scope.inner.set(ptr::null());
    scope.outer.set(old);
    compiler_fence(Ordering::SeqCst);
    list.set(scope);
    // SAFETY: linked scopes stay in place.
    if let Some(old) = unsafe { old.as_ref() } {
        old.inner.set(scope);
    }
}

/// Takes it out; its own links stay, for whoever is looking at it.
fn unlink(list: &Cell<*const Scope>, scope: &Scope) {
    let (inner, outer) = (scope.inner.get(), scope.outer.get());
    // SAFETY: as above.
    unsafe {
        match inner.as_ref() {
            Some(inner) => inner.outer.set(outer),
            None => list.set(outer),
        }
        if let Some(outer) = outer.as_ref() {
            outer.inner.set(inner);
        }
    }
}

/// Calls `f` for each, which may take the one that it is called with out of the list.
fn for_each(list: &Cell<*const Scope>, mut f: impl FnMut(&Scope)) {
    let mut next = list.get();
    // SAFETY: linked scopes stay in place, each linked to the next until null.
    while let Some(scope) = unsafe { next.as_ref() } {
        next = scope.outer.get();
        f(scope);
    }
}

impl State {
    /// Calls `f` for each scope in force, the newest first.
    pub fn for_each_scope(&self, mut f: impl FnMut(&Scope)) {
        for_each(&self.scope, |s| {
            if !s.is_asleep() {
                f(s);
            }
        });
    }

    /// Calls `f` for each that is looked at, also if it is asleep.
    pub fn for_each_open(&self, f: impl FnMut(&Scope)) {
        for_each(&self.scope, f);
    }

    /// Whether any call is open, also if it is asleep.
    pub fn has_calls(&self) -> bool {
        !self.scope.get().is_null() || !self.parked.get().is_null()
    }

    /// Whether no call is in force.
    pub fn is_quiet(&self) -> bool {
        let mut quiet = true;
        self.for_each_scope(|s| quiet &= s.is_abandoned(self));
        quiet
    }

    /// Whether a stop goes on.
    pub fn is_stopping(&self) -> bool {
        let mut hit = false;
        self.for_each_scope(|s| hit |= s.hit.get().is_some());
        hit
    }

    /// Whether somebody has to look at a scope again: it can fall asleep, or vanish.
    fn is_loose(scope: &Scope) -> bool {
        scope.suspends || scope.can_vanish
    }

    /// Adds a scope, which is in force. False if its coroutine is not known: it may be freed without our seeing it.
    pub fn add(&self, scope: &Scope) -> bool {
        if Self::is_loose(scope) {
            let Some(entry) = self.entry(scope.l) else {
                return false;
            };
            scope.below.set(entry.calls.replace(scope));
            self.loose.set(self.loose.get() + 1);
        }
        link(&self.scope, scope);
        true
    }

    /// Takes a scope out of everything.
    #[inline]
    pub fn remove(&self, scope: &Scope) {
        if scope.parked.get() {
            unlink(&self.parked, scope);
        } else {
            unlink(&self.scope, scope);
        }
        if Self::is_loose(scope) {
            self.remove_loose(scope);
        }
    }

    /// Takes it from among those that can fall asleep or vanish, and out of the list of its coroutine.
    fn remove_loose(&self, scope: &Scope) {
        if !scope.parked.get() {
            self.loose.set(self.loose.get() - 1);
        }
        if let Some(entry) = self.entry(scope.l) {
            let mut at = &entry.calls;
            // SAFETY: the scopes of a coroutine stay in place while they are linked.
            while let Some(s) = unsafe { at.get().as_ref() } {
                if ptr::eq(s, scope) {
                    at.set(scope.below.get());
                    break;
                }
                at = &s.below;
            }
        }
    }

    /// The innermost scope of a coroutine that has this serial number.
    pub fn find(&self, l: *mut lua_State, serial: std::ffi::c_int) -> Option<&Scope> {
        let wanted = |s: &Scope| s.serial == serial && s.l == l;
        let mut found = None;
        let mut s = self.entry(l).map_or(ptr::null(), |e| e.calls.get());
        // SAFETY: as above.
        while let Some(scope) = unsafe { s.as_ref() } {
            if wanted(scope) {
                return Some(scope);
            }
            s = scope.below.get();
        }
        // What can neither sleep nor vanish is in no entry.
        let mut s = self.scope.get();
        // SAFETY: as above.
        while let Some(scope) = unsafe { s.as_ref() } {
            if found.is_none() && wanted(scope) {
                found = Some(scope);
            }
            s = scope.outer.get();
        }
        found
    }

    /// The innermost scope of a coroutine, of those that may be suspended or vanish.
    pub fn innermost_of(&self, l: *mut lua_State) -> Option<&Scope> {
        // SAFETY: as above.
        self.entry(l)
            .and_then(|e| unsafe { e.calls.get().as_ref() })
    }

    /// Looks which calls are still in force, and which are gone without having been left. Not in a signal handler.
    #[inline(always)]
    pub fn refresh(&self) {
        if self.loose.get() != 0 {
            self.look_at_loose();
        }
    }

    fn look_at_loose(&self) {
        let mut dropped = false;
        for_each(&self.scope, |s| {
            if s.is_asleep() {
                if s.is_timed_only() {
                    self.park(s);
                }
            } else if s.is_abandoned(self) {
                self.remove(s);
                self.scopes.give_back(s);
                dropped = true;
            }
        });
        if dropped {
            self.settle();
        }
    }

    fn park(&self, scope: &Scope) {
        unlink(&self.scope, scope);
        self.loose.set(self.loose.get() - 1);
        scope.parked.set(true);
        link(&self.parked, scope);
        if scope.is_marked() {
            self.doze(scope);
        } else {
            self.parked_until
                .set(self.parked_until.get().min(scope.due_at()));
        }
    }

    fn unpark(&self, scope: &Scope) {
        unlink(&self.parked, scope);
        self.loose.set(self.loose.get() + 1);
        scope.parked.set(false);
        scope.dozes.set(false);
        link(&self.scope, scope);
    }

    /// It has to be looked at when it wakes up.
    fn doze(&self, scope: &Scope) {
        scope.dozes.set(true);
        self.dozing.set(true);
        // SAFETY: a suspended coroutine, so it is alive; this is its thread.
        unsafe { hook::wait_for(self, scope.l) };
    }

    /// Looks at what is asleep, and marks what is due. True if something has changed for those who look from outside.
    ///
    /// `thoroughly`: also whether what is parked has woken up.
    pub fn look_at_asleep(&self, now: Ticks, thoroughly: bool) -> bool {
        let dozed = self.dozing.replace(false);
        let mut changed = false;
        for_each(&self.scope, |s| {
            if !s.is_asleep() {
                s.dozes.set(false);
            } else if s.hit.get().is_some() || s.due_at() <= now {
                changed |= !s.dozes.get();
                self.doze(s);
            }
        });
        if self.parked_until.get() > now && !(thoroughly && dozed) {
            self.dozing.set(dozed || self.dozing.get());
            return changed;
        }
        let mut until = Ticks::NEVER;
        for_each(&self.parked, |s| {
            if s.is_abandoned(self) {
                self.remove(s);
                self.scopes.give_back(s);
            } else if !s.is_asleep() {
                self.unpark(s);
            } else if s.hit.get().is_some() || s.due_at() <= now {
                self.doze(s);
            } else {
                until = until.min(s.due_at());
            }
        });
        self.parked_until.set(until);
        true
    }

    /// Looks which of those that are put aside have woken up. Whoever asks who is around whom needs all of them.
    pub fn look_who_is_awake(&self) {
        for_each(&self.parked, |s| {
            if !s.is_asleep() && !s.is_abandoned(self) {
                self.unpark(s);
            }
        });
    }

    /// Code runs in `l`: if it was asleep, it is not.
    #[inline]
    pub fn is_awake(&self, l: *mut lua_State) {
        if !self.parked.get().is_null() {
            self.unpark_those_of(l);
        }
    }

    fn unpark_those_of(&self, l: *mut lua_State) {
        let mut s = self.entry(l).map_or(ptr::null(), |e| e.calls.get());
        // SAFETY: as above.
        while let Some(scope) = unsafe { s.as_ref() } {
            s = scope.below.get();
            if scope.parked.get() {
                self.unpark(scope);
            }
        }
    }

    /// Whether our hook has to stay on this coroutine. **Signal context.**
    pub fn waits_for(&self, entry: &Entry) -> bool {
        let mut s = entry.calls.get();
        // SAFETY: as above.
        while let Some(scope) = unsafe { s.as_ref() } {
            if !scope.is_asleep() {
                return false; // nor is any other of this coroutine
            }
            if scope.is_marked() {
                return true;
            }
            s = scope.below.get();
        }
        false
    }

    /// A coroutine is being freed: so are the calls that it has made. Called by the allocator, also while the collector is at work.
    pub fn forget_calls_of(&self, co: *mut lua_State) {
        if !self.has_calls() {
            return;
        }
        let mut s = self
            .entry(co)
            .map_or(ptr::null(), |e| e.calls.replace(ptr::null()));
        let mut open = false;
        // SAFETY: as above; a place stays where it is when it is given back.
        while let Some(scope) = unsafe { s.as_ref() } {
            s = scope.below.get();
            open |= !scope.parked.get();
            self.remove(scope);
            self.scopes.give_back(scope);
        }
        if open && !self.main.get().is_null() {
            self.publish();
        }
        // What is parked is not published, but may have been: the signal handler looks whether it runs.
        if self.scope_state.get() == co {
            self.scope_state.set(self.newest_caller());
        }
    }

    /// The coroutine of the newest open call; the main state if there is none.
    pub fn newest_caller(&self) -> *mut lua_State {
        // SAFETY: as above.
        unsafe { self.scope.get().as_ref() }.map_or(self.main.get(), |s| s.l)
    }

    /// How many calls are around a new one of `l`.
    pub fn depth_in(&self, l: *mut lua_State) -> usize {
        let own = self.entry(l).map_or(ptr::null(), |e| e.calls.get());
        // SAFETY: as above.
        let own = unsafe { own.as_ref() }.map_or(0, |s| s.depth + 1);
        let mut s = self.scope.get();
        // SAFETY: as above.
        while let Some(scope) = unsafe { s.as_ref() } {
            if !scope.is_asleep() {
                return own.max(scope.depth + 1);
            }
            s = scope.outer.get();
        }
        own
    }

    /// Whether nobody can be told that `l` is freed: then it must not be suspended inside a call.
    pub fn may_suspend(&self, l: *mut lua_State) -> bool {
        if l == self.main.get()
            || !self.allocator_is_ours()
            || self.coroutine_size.get() == usize::MAX
        {
            return false;
        }
        (sys::HOOK_PER_COROUTINE || self.coroutines.insert(l)) && self.entry(l).is_some()
    }
}

#[cfg(test)]
mod tests;
