//! One open call with limits.
//!
//! A scope is opened and closed by [`crate::call`]. Only the owner thread looks at it: the hook when an interrupt lands, the allocator when
//! memory is refused, the signal handler when instructions or CPU time are counted. What other threads need of it (the earliest deadline) is
//! copied into the [record](crate::record).
//!
//! Scopes lie in memory of the state's own ([`Scopes`]), and not in the frame of the call: a call can be left without a return. A yield
//! jumps over the frame; in 5.5 a coroutine may close itself (`coroutine.close()`), and from 5.4 on another one.
//!
//! **Calls are a tree.** A coroutine that is suspended inside a call takes the call with it, and may be resumed from anywhere: so which
//! calls are in force is not a stack. It is looked up when it matters: those of coroutines that run, or wait for one that they have resumed,
//! which their status tells ([`Scope::is_asleep`]). Nobody is told of a switch, and no switch costs anything. How the lists are kept is in
//! [`crate::asleep`].
//!
//! **Who stops where**: the outermost scope that is due is the one that ends; what is inside it goes with it. So a script cannot
//! contain a stop by a call of its own, however it limits that. No order is needed for that: whoever leaves a scope runs, so every other scope
//! that is in force is around it.

use crate::coroutines::SavedHook;
use crate::jit::Jit;
use crate::limits::{Limits, Reason};
use crate::sigint;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// See the module's header. Plain data: a Lua error may jump over it.
pub struct Scope {
    /// The next older scope of the same list, and the next newer one; null: none.
    pub outer: Cell<*const Scope>,
    /// See `outer`.
    pub inner: Cell<*const Scope>,
    /// The scope around this one in the same coroutine, or null.
    pub below: Cell<*const Scope>,
    /// It is in the list of those that are not looked at before their deadline ([`crate::asleep`]).
    pub parked: Cell<bool>,
    /// By which a continuation finds it.
    pub serial: c_int,
    /// What the caller wants back at the end.
    pub note: c_int,
    /// The user's hook when the call began.
    pub users: SavedHook,
    /// How many scopes are around this one.
    pub depth: usize,
    /// The coroutine that has made the call.
    pub l: *mut lua_State,
    /// The function that has made the call, by [`sys::frame`]; null in the main state, where nobody asks.
    pub frame: *mut c_void,
    /// It may yield inside the call.
    pub suspends: bool,
    /// See [`is_abandoned`](Scope::is_abandoned).
    pub can_vanish: bool,
    /// What the caller has asked for.
    pub limits: Limits,
    /// When the call began.
    pub started: Ticks,
    /// The thread's CPU time then.
    pub cpu_started: Duration,
    /// Nanoseconds of CPU time that have been seen to be spent inside; of calls that may be suspended.
    pub cpu_used: Cell<u64>,
    /// This scope's own limits, absolute: point in time; nanoseconds of the CPU clock; bytes in use.
    pub deadline: Cell<Ticks>,
    /// See `deadline`.
    pub cpu_until: Cell<u64>,
    /// See `deadline`.
    pub memory_until: Cell<usize>,
    /// Instructions left; none: not counted.
    pub budget: Cell<Option<i64>>,
    /// How often Ctrl-C had been pressed before ([`crate::sigint`]).
    pub sigints: u64,
    /// When to warn ([`crate::warning`]).
    pub warn_at: Cell<Ticks>,
    /// It has been seen asleep when something was due, and nobody has seen it awake since ([`crate::asleep`]).
    pub dozes: Cell<bool>,
    /// Set once this scope has to end.
    pub hit: Cell<Option<Reason>>,
    /// Its call is surely on the stack, or has been looked for there ([`crate::glue`]).
    pub found: Cell<bool>,
}

impl Scope {
    /// LuaJIT: whether what runs under these limits must not be compiled: instructions are counted, or compiled code could not be stopped.
    pub fn must_be_interpreted(limits: &Limits, state: &State) -> bool {
        limits.instructions.is_some() || state.jit.get() == Jit::Interpreted
    }

    /// Starts the clocks of `limits` for a call that `l` makes; `glued` if its boundary is Lua code ([`crate::glue`]).
    ///
    /// # Safety
    /// `l` is a live coroutine of the state, on this thread.
    #[inline(always)] // it is written where it is to be, and not copied there
    pub unsafe fn new(
        limits: &Limits,
        l: *mut lua_State,
        suspends: bool,
        glued: bool,
        used: usize,
    ) -> Scope {
        let started = Ticks::now();
        // The first two are of calls that a function has made, so there is a frame.
        // SAFETY: by the caller.
        let can_vanish = suspends || glued || sys::CLOSES_ITSELF && unsafe { has_frame(l) };
        // The CPU clock costs a system call (DESIGN section 4, "Clocks cost"), so it is read only for those who limit it; the
        // report of other stops does without.
        let cpu_started = match limits.cpu {
            Some(_) => ThreadClock::current().read().unwrap_or_default(),
            None => Duration::ZERO,
        };
        Scope {
            outer: Cell::new(ptr::null()),
            inner: Cell::new(ptr::null()),
            below: Cell::new(ptr::null()),
            parked: Cell::new(false),
            serial: 0,
            note: 0,
            users: SavedHook::default(),
            depth: 0,
            l,
            frame: ptr::null_mut(),
            suspends,
            can_vanish,
            started,
            cpu_started,
            cpu_used: Cell::new(0),
            deadline: Cell::new(limits.timeout.map_or(Ticks::NEVER, |t| started.after(t))),
            cpu_until: Cell::new(
                limits
                    .cpu
                    .map_or(u64::MAX, |t| nanos(cpu_started.saturating_add(t))),
            ),
            memory_until: Cell::new(limits.memory.map_or(usize::MAX, |m| used.saturating_add(m))),
            warn_at: Cell::new(limits.warn.map_or(Ticks::NEVER, |w| started.after(w.0))),
            sigints: sigint::count(),
            budget: Cell::new(
                limits
                    .instructions
                    .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            ),
            dozes: Cell::new(false),
            hit: Cell::new(None),
            found: Cell::new(!glued),
            limits: *limits,
        }
    }

    /// This scope has to end, for `reason`, unless another reason came first.
    pub fn hit(&self, reason: Reason) {
        if self.hit.get().is_none() {
            self.hit.set(Some(reason));
        }
    }

    /// What to compare with `cpu_until`; `cpu` is the thread's time. Of a call that may be suspended only what has been seen to be spent inside counts.
    pub fn cpu_at(&self, cpu: Duration) -> Duration {
        match self.suspends {
            true => self.cpu_started + Duration::from_nanos(self.cpu_used.get()),
            false => cpu,
        }
    }

    /// Looks at the clocks, and marks the scope if it is due. `cpu` is the thread's.
    pub fn look(&self, now: Ticks, cpu: Duration) {
        if self.has_expired(now) {
            self.hit(Reason::Timeout);
        }
        if self.cpu_until.get() != u64::MAX && nanos(self.cpu_at(cpu)) >= self.cpu_until.get() {
            self.hit(Reason::Cpu);
        }
        if self.budget.get().is_some_and(|n| n <= 0) {
            self.hit(Reason::Instructions);
        }
        if self.limits.sigint && self.sigints != sigint::count() {
            self.hit(Reason::Interrupt);
        }
    }

    /// When somebody has to look at it, whatever it does until then: to warn, or to stop it.
    pub fn due_at(&self) -> Ticks {
        self.deadline.get().min(self.warn_at.get())
    }

    /// Whether it has to be looked at when its coroutine runs, and not before.
    pub fn is_marked(&self) -> bool {
        self.hit.get().is_some() || self.dozes.get()
    }

    /// Whether its time is up. While a warning is due, it is not: the warning comes first, and may put that off.
    pub fn has_expired(&self, now: Ticks) -> bool {
        self.deadline.get() <= now && self.warn_at.get() > now
    }

    /// Whether nothing but points in time concern it: nothing has to be counted.
    pub fn is_timed_only(&self) -> bool {
        self.budget.get().is_none()
            && self.cpu_until.get() == u64::MAX
            && self.memory_until.get() == usize::MAX
            && !self.limits.sigint
    }

    /// Whether its coroutine is suspended. **Signal context.**
    #[inline]
    pub fn is_asleep(&self) -> bool {
        // SAFETY: the scopes of a coroutine that is freed go first (`State::forget_calls_of`); it reads a byte.
        self.suspends && unsafe { sys::lua_status(self.l) } == sys::LUA_YIELD
    }

    /// Whether the call is gone without having been left.
    ///
    /// A coroutine in which a function has made the call runs, is suspended, or waits for one that it has resumed: it has a frame. One that has been
    /// closed, or has closed itself, has none. (Its host could use it again: then it looks as if the call were still open, until it ends the next time.)
    /// One that has died keeps its frames, and has another status; as it has on LuaJIT while a message handler runs.
    pub fn is_abandoned(&self, state: &State) -> bool {
        // SAFETY: as in `is_asleep`.
        self.can_vanish
            && unsafe {
                match sys::lua_status(self.l) {
                    sys::LUA_YIELD => false,
                    sys::LUA_OK => !has_frame(self.l),
                    _ => state.layout.get().jump_of(self.l).is_none_or(|j| j == 0),
                }
            }
    }
}

/// Whether any function is active in `l`.
unsafe fn has_frame(l: *mut lua_State) -> bool {
    // SAFETY: `l` is live, by the caller. `lua_Debug` is plain data, of which zero is a value, and is only written.
    unsafe { sys::lua_getstack(l, 0, &mut std::mem::zeroed()) != 0 }
}

/// As an integer, which counts further than a process lives.
pub fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the scopes of a state lie. Places are used again.
#[derive(Default)]
pub struct Scopes(RefCell<Places>);

#[derive(Default)]
struct Places {
    all: Vec<*mut Scope>,
    free: Vec<*mut Scope>,
}

impl Scopes {
    /// A place for a scope that `make` makes, until it is [given back](Scopes::give_back). If it wants Ctrl-C, that is [ours](sigint::open) in between.
    #[inline(always)]
    pub fn put(&self, make: impl FnOnce() -> Scope) -> *mut Scope {
        let place = self.place();
        // SAFETY: a place that nobody looks at. What was there owns nothing.
        unsafe { place.write(make()) };
        place
    }

    /// A place that is free.
    fn place(&self) -> *mut Scope {
        let mut places = self.0.borrow_mut();
        if let Some(place) = places.free.pop() {
            return place;
        }
        let place = Box::into_raw(Box::<Scope>::new_uninit()).cast();
        places.all.push(place);
        let room = places.all.len() - places.free.len();
        places.free.reserve(room); // giving back never allocates
        place
    }

    /// The scope is closed, and nobody looks at it any more.
    pub fn give_back(&self, scope: *const Scope) {
        // SAFETY: it was put here, and nobody has it.
        if unsafe { (*scope).limits.sigint } {
            sigint::close();
        }
        self.0.borrow_mut().free.push(scope.cast_mut());
    }

    /// How many are in use.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        let places = self.0.borrow();
        places.all.len() - places.free.len()
    }
}

impl Drop for Scopes {
    fn drop(&mut self) {
        for place in self.0.get_mut().all.drain(..) {
            // SAFETY: from `Box::into_raw`, once. A scope owns nothing, so it does not matter whether there is one.
            drop(unsafe { Box::from_raw(place.cast::<MaybeUninit<Scope>>()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let scopes = Scopes::default();
        // SAFETY: without `suspends` nobody looks at the coroutine; on 5.5 it is asked for its frames, so it is a real one.
        let l = unsafe { sys::luaL_newstate() };
        let put = || -> *const Scope {
            // SAFETY: live, on this thread.
            scopes.put(|| unsafe { Scope::new(&Limits::new(), l, false, false, 0) })
        };
        let first: Vec<_> = (0..100).map(|_| put()).collect();
        assert_eq!(scopes.in_use(), 100);
        for &scope in &first {
            scopes.give_back(scope);
        }
        assert_eq!(scopes.in_use(), 0);
        for _ in 0..100 {
            assert!(first.contains(&put()));
        }
        // SAFETY: made above.
        unsafe { sys::lua_close(l) };
    }
}
