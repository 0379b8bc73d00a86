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
use crate::limits::{Limits, Reason, nanos};
use crate::sigint;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
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
    /// The next place that is free, while this one is.
    next_free: Cell<*mut Scope>,
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

/// Timeouts shorter than this, in nanoseconds, are worth the exact clock.
const BRIEF: u64 = 10_000_000;

/// Who makes a call.
#[derive(Clone, Copy)]
pub struct Caller {
    /// The coroutine.
    pub l: *mut lua_State,
    /// It may yield inside the call.
    pub suspends: bool,
    /// The call's boundary is Lua code ([`crate::glue`]).
    pub glued: bool,
}

impl Scope {
    /// LuaJIT: whether what runs under these limits must not be compiled: instructions are counted, or compiled code could not be stopped.
    pub fn must_be_interpreted(limits: &Limits, state: &State) -> bool {
        limits.instructions.get().is_some() || state.jit.get() == Jit::Interpreted
    }

    /// One that is not open.
    fn blank() -> Scope {
        Scope {
            outer: Cell::new(ptr::null()),
            inner: Cell::new(ptr::null()),
            below: Cell::new(ptr::null()),
            next_free: Cell::new(ptr::null_mut()),
            parked: Cell::new(false),
            serial: 0,
            note: 0,
            users: SavedHook::default(),
            depth: 0,
            l: ptr::null_mut(),
            frame: ptr::null_mut(),
            suspends: false,
            can_vanish: false,
            limits: Limits::new(),
            started: Ticks::NEVER,
            cpu_started: Duration::ZERO,
            cpu_used: Cell::new(0),
            deadline: Cell::new(Ticks::NEVER),
            cpu_until: Cell::new(u64::MAX),
            memory_until: Cell::new(usize::MAX),
            warn_at: Cell::new(Ticks::NEVER),
            sigints: 0,
            budget: Cell::new(None),
            dozes: Cell::new(false),
            hit: Cell::new(None),
            found: Cell::new(true),
        }
    }

    /// A scope in a place of the caller's own.
    ///
    /// # Safety
    /// As [`open`](Scope::open).
    pub unsafe fn new(limits: &Limits, l: *mut lua_State, used: usize) -> Scope {
        let mut scope = Scope::blank();
        let by = Caller {
            l,
            suspends: false,
            glued: false,
        };
        // SAFETY: by the caller.
        unsafe { scope.open(limits, by, used) };
        scope
    }

    /// Starts the clocks of `limits` for a call that `by` makes, of whose state `used` bytes are in use.
    ///
    /// Each field is set where it lies: a whole that is put together elsewhere and copied costs 7 ns, on the way of every call.
    ///
    /// # Safety
    /// `by.l` is a live coroutine of the state, on this thread.
    #[inline]
    pub unsafe fn open(&mut self, limits: &Limits, by: Caller, used: usize) {
        // All by name, so that none keeps what the place held before.
        let Scope {
            outer,
            inner,
            below,
            next_free: _,
            parked,
            serial,
            note,
            users,
            depth,
            l,
            frame,
            suspends,
            can_vanish,
            limits: own,
            started,
            cpu_started,
            cpu_used,
            deadline,
            cpu_until,
            memory_until,
            budget,
            sigints,
            warn_at,
            dozes,
            hit,
            found,
        } = self;
        outer.set(ptr::null());
        inner.set(ptr::null());
        below.set(ptr::null());
        parked.set(false);
        dozes.set(false);
        hit.set(None);
        (*serial, *note, *depth) = (0, 0, 0);
        *users = SavedHook::default();
        *frame = ptr::null_mut();
        *l = by.l;
        *suspends = by.suspends;
        found.set(!by.glued);
        // The first two are of calls that a function has made, so there is a frame.
        // SAFETY: by the caller.
        *can_vanish = by.suspends || by.glued || sys::CLOSES_ITSELF && unsafe { has_frame(by.l) };
        *own = *limits;
        // The cheaper clock may be some nanoseconds ahead, and a limit of zero has to be reached when it is looked at next.
        let now = match limits.timeout.above(0) < BRIEF {
            true => Ticks::now(),
            false => Ticks::about_now(),
        };
        *started = now;
        deadline.set(limits.timeout.after(now));
        warn_at.set(limits.warn.map_or(Ticks::NEVER, |w| w.0.after(now)));
        // The CPU clock costs a system call (docs/benchmarks.md, "What a call with limits costs"), so it is read only for those who limit it; the
        // report of other stops does without.
        *cpu_started = Duration::ZERO;
        cpu_used.set(0);
        cpu_until.set(u64::MAX);
        if limits.cpu.get().is_some() {
            *cpu_started = ThreadClock::current().read().unwrap_or_default();
            cpu_until.set(limits.cpu.above(nanos(*cpu_started)));
        }
        memory_until.set(limits.memory.bytes_above(used));
        budget.set(limits.instructions.budget());
        *sigints = sigint::count();
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
            sigint::ends(self.sigints); // so nobody raises it again
        }
    }

    /// How often Ctrl-C had been pressed before, if one more ends it; else the greatest number.
    pub fn sigint_since(&self) -> u64 {
        match self.limits.sigint {
            true => self.sigints,
            false => u64::MAX,
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
    let mut unread = MaybeUninit::uninit();
    // SAFETY: `l` is live, by the caller. What is asked for is only written.
    unsafe { sys::lua_getstack(l, 0, unread.as_mut_ptr()) != 0 }
}

/// Where the scopes of a state lie. Places are used again.
pub struct Scopes {
    all: RefCell<Vec<NonNull<Scope>>>,
    /// The first place that is free, linked to the next.
    free: Cell<*mut Scope>,
}

impl Default for Scopes {
    fn default() -> Scopes {
        Scopes {
            all: RefCell::default(),
            free: Cell::new(ptr::null_mut()),
        }
    }
}

impl Scopes {
    /// A place for a scope, until it is [given back](Scopes::give_back): nobody else has it, or looks at it. If the scope wants Ctrl-C, that is
    /// [ours](sigint::open) in between.
    #[inline]
    pub fn take(&self) -> *mut Scope {
        let place = self.free.get();
        if place.is_null() {
            return self.another();
        }
        // SAFETY: places stay until this is dropped.
        self.free.set(unsafe { (*place).next_free.get() });
        place
    }

    #[cold]
    fn another(&self) -> *mut Scope {
        let place = NonNull::from(Box::leak(Box::new(Scope::blank())));
        self.all.borrow_mut().push(place);
        place.as_ptr()
    }

    /// The scope is closed, and nobody looks at it any more.
    #[inline]
    pub fn give_back(&self, scope: *const Scope) {
        // SAFETY: it was taken here, and nobody has it.
        unsafe {
            if (*scope).limits.sigint {
                sigint::close((*scope).sigints, (*scope).hit.get().is_some());
            }
            (*scope).next_free.set(self.free.get());
        }
        self.free.set(scope.cast_mut());
    }

    /// How many are in use.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        let mut in_use = self.all.borrow().len();
        let mut place = self.free.get();
        // SAFETY: as in `take`.
        while let Some(scope) = unsafe { place.as_ref() } {
            in_use -= 1;
            place = scope.next_free.get();
        }
        in_use
    }
}

impl Drop for Scopes {
    fn drop(&mut self) {
        for place in self.all.get_mut().drain(..) {
            // SAFETY: from a box, once.
            drop(unsafe { Box::from_raw(place.as_ptr()) });
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
            let scope = scopes.take();
            let by = Caller {
                l,
                suspends: false,
                glued: false,
            };
            // SAFETY: a place of our own; the state is live, on this thread.
            unsafe { (*scope).open(&Limits::new(), by, 0) };
            scope
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
