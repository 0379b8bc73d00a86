//! A call with limits: what [`crate::Vm::call`] and [`crate::Guest::begin`] have in common.
//!
//! A protected call between two steps: a [scope](crate::scope) is opened, and closed again. Whatever runs inside, an error of the hook
//! ends it and is caught by this protected call, if by no other; then the scope says why. So the status that it gives matters only if
//! no limit was reached. The report is made last, when the call is over and its limits are lifted.
//!
//! **A stop that passes.** If it is a call further out that has to end, this one has been unwound on the way, and its report says so
//! ([`Stop::enclosing`]). Its caller has to go on unwinding ([`crate::Guest::unwind`]); if it does not, the hook, which is still set everywhere,
//! ends it at the next instruction.
//!
//! **The hook.** What was stopped may have set a hook by `debug.sethook`, which would go on in the caller, without any limit. So after a stop the
//! hook is what it was before the call. (For a guest it is off, and the module sets it again: `debug.sethook` keeps its function
//! elsewhere, where it may have been replaced.)
//!
//! Nothing that owns anything is alive in these frames while Lua runs: a yield jumps over them, and on 5.5 `coroutine.close()`. What the end has
//! to know is in the scope.

use crate::coroutines::SavedHook;
use crate::limits::{Limits, Reason, Stop};
use crate::request::CHECK;
use crate::scope::{Caller, Scope};
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, raise, sigint, userhook};
use std::ffi::{CStr, c_int};
use std::ptr;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// How deep calls may be nested. PUC Lua has this limit on nested C calls itself (`LUAI_MAXCCALLS`, 200); LuaJIT has none, and a
/// script that nests calls for ever would overflow the host's stack.
const MOST_NESTED: usize = 190;

/// [`Ticks::recent`] is a few milliseconds behind.
const MOST_BEHIND: Duration = Duration::from_millis(100);

/// How a call has ended.
pub struct Ended {
    /// What stopped it, if anything.
    pub stop: Option<Box<Stop>>,
    /// The number that was given to [`Guest::begin`](crate::Guest::begin).
    pub note: c_int,
    /// The user's hook when the call began, its mask and its count.
    pub hook: (Option<sys::Hook>, c_int, c_int),
}

impl State {
    /// Opens a scope. See [`crate::Guest::begin`].
    ///
    /// # Safety
    /// `l` belongs to this state and runs on this thread, and `users` is the user's hook there. `suspends` only if [`may_suspend`](State::may_suspend).
    #[inline(always)]
    pub unsafe fn begin(
        &self,
        l: *mut lua_State,
        limits: &Limits,
        suspends: bool,
        glued: bool,
        note: c_int,
        users: SavedHook,
    ) -> Result<&Scope, &'static CStr> {
        self.refresh();
        self.is_awake(l);
        let depth = self.depth_in(l);
        if depth > MOST_NESTED {
            return Err(c"C stack overflow (too many nested calls with limits)");
        }
        // SAFETY: by the caller: `l` runs on this thread.
        if Scope::must_be_interpreted(limits, self) && !unsafe { self.interpret_meanwhile(l) } {
            return Err(
                c"this call cannot be limited in a finalizer, where LuaJIT's compiler cannot be switched off",
            );
        }
        let by = Caller { l, suspends, glued };
        // SAFETY: `l` runs on this thread. The scope stays in place until it is given back, and until it is entered nobody else has it.
        let scope = unsafe {
            let scope = &mut *self.scopes.take();
            scope.open(limits, by, self.memory.used.get());
            if l != self.main.get() {
                scope.frame = sys::frame(l, 0);
            }
            scope.depth = depth;
            scope.note = note;
            scope.users = users;
            scope.can_vanish &= self.entry(l).is_some();
            scope.serial = match self.serial.get() {
                c_int::MAX => 1,
                last => last + 1,
            };
            &*scope
        };
        self.serial.set(scope.serial);
        self.glue.is_getting_on();
        self.enter(scope);
        if limits.sigint {
            sigint::open(self.record());
        }
        Ok(scope)
    }

    /// Closes a scope, after the protected call has returned `status`.
    ///
    /// # Safety
    /// As [`begin`](State::begin). The error object of a status other than 0 is on top of the stack.
    #[inline(always)]
    pub unsafe fn end(&self, scope: &Scope, status: c_int) -> Ended {
        self.memory.fall(false);
        self.glue.is_getting_on();
        // SAFETY: by the caller.
        if unsafe { hook::memory_ran_out(self, scope.l, status) } {
            // The limit may be that of a call around this one.
            let mut least = usize::MAX - 1;
            self.for_each_scope(|s| least = least.min(s.memory_until.get()));
            self.for_each_scope(|s| {
                if s.memory_until.get() == least {
                    s.hit(Reason::Memory);
                }
            });
        }
        // It may have been reached while it was suspended. (Not if nobody could warn of it: then it might have been put off.) The exact clock is read only near the deadline.
        if scope.suspends
            && scope.deadline.get() <= Ticks::recent().after(MOST_BEHIND)
            && scope.has_expired(Ticks::now())
        {
            scope.hit(Reason::Timeout);
        }
        if scope.limits.sigint && scope.hit.get().is_none() && sigint::ends(scope.sigints) {
            scope.hit(Reason::Interrupt); // it has come as the call ended
        }
        let enclosing = self.leave(scope);
        if enclosing && self.record().request.flags() == 0 {
            self.ask_self(CHECK); // a limit of a call around this one has been reached, and nobody has been asked yet
        }
        let stop = self.report(scope, enclosing);
        if stop.is_some() && !enclosing {
            let off = self.belongs_to_lua.get();
            // SAFETY: its coroutine runs on this thread.
            unsafe {
                let users = if off {
                    SavedHook::default()
                } else {
                    scope.users
                };
                userhook::set(self, scope.l, users);
            }
        }
        let users = scope.users;
        let note = scope.note;
        self.scopes.give_back(scope);
        Ended {
            stop,
            note,
            hook: (users.hook, users.mask, users.count),
        }
    }

    /// Closes the scope of that number, and those that were opened inside it in the same coroutine and have been left without a word.
    ///
    /// # Safety
    /// As [`end`](State::end).
    #[inline(always)]
    pub unsafe fn end_by_serial(&self, l: *mut lua_State, serial: c_int, status: c_int) -> Ended {
        // Nearly always it is the newest of all, and the innermost of its coroutine.
        // SAFETY: open scopes stay in place.
        let newest = unsafe { self.scope.get().as_ref() };
        let is_it = |s: &&Scope| {
            let innermost = || self.innermost_of(l).is_some_and(|i| std::ptr::eq(i, *s));
            s.serial == serial && s.l == l && (!s.can_vanish || innermost())
        };
        let scope = match newest.filter(is_it) {
            Some(scope) => scope,
            None => match self.find_behind(l, serial) {
                Some(scope) => scope,
                None => {
                    return Ended {
                        stop: None,
                        note: 0,
                        hook: (None, 0, 0),
                    };
                }
            },
        };
        // SAFETY: by the caller.
        unsafe { self.end(scope, status) }
    }

    /// The scope of that number; those that were opened inside it are closed.
    #[cold]
    fn find_behind(&self, l: *mut lua_State, serial: c_int) -> Option<&Scope> {
        let scope = self.find(l, serial)?;
        while let Some(inside) = self.innermost_of(l)
            && scope.can_vanish
            && !std::ptr::eq(inside, scope)
        {
            self.remove(inside);
            self.scopes.give_back(inside);
        }
        Some(scope)
    }

    /// `lua_pcall` with limits. See [`crate::Vm::call`].
    ///
    /// # Safety
    /// As `lua_pcall`. `l` belongs to this state and runs on this thread.
    pub unsafe fn call(
        &self,
        l: *mut lua_State,
        nargs: c_int,
        nresults: c_int,
        msgh: c_int,
        limits: &Limits,
    ) -> Result<c_int, Box<Stop>> {
        // SAFETY: by the caller. An error inside is caught here; a stop cannot be caught further in. The function and its arguments make
        // place for a message; `base` values were there before.
        unsafe {
            let base = sys::lua_gettop(l) - nargs - 1;
            let users = userhook::get(self, l);
            let scope = match self.begin(l, limits, false, false, 0, users) {
                Ok(scope) => scope,
                Err(message) => {
                    sys::lua_settop(l, base);
                    sys::lua_pushstring(l, message.as_ptr());
                    return Ok(sys::LUA_ERRRUN);
                }
            };
            let status = sys::lua_pcall(l, nargs, nresults, msgh);
            match self.end(scope, status).stop {
                None => Ok(status),
                Some(stop) => {
                    sys::lua_settop(l, base);
                    Err(stop)
                }
            }
        }
    }

    /// The report, if `scope`, which has been left, or one around it was stopped.
    #[inline]
    pub fn report(&self, scope: &Scope, enclosing: bool) -> Option<Box<Stop>> {
        if scope.hit.get().is_none() && !enclosing {
            return None;
        }
        self.make_report(scope, enclosing)
    }

    /// The report of the outermost call that has to end and is still open.
    pub fn report_so_far(&self) -> Option<Box<Stop>> {
        let mut outermost = ptr::null();
        self.for_each_scope(|s| {
            if s.hit.get().is_some() {
                outermost = ptr::from_ref(s);
            }
        });
        // SAFETY: open scopes stay in place.
        let scope: &Scope = unsafe { outermost.as_ref() }?;
        let mut stop = self.make_report(scope, true)?; // the traceback is kept for the one that is made in the end
        stop.enclosing = false;
        Some(stop)
    }

    #[cold]
    fn make_report(&self, scope: &Scope, enclosing: bool) -> Option<Box<Stop>> {
        let mut reason = scope.hit.get();
        if enclosing {
            self.for_each_scope(|s| reason = s.hit.get().or(reason));
        }
        let reason = reason?;
        let limits = &scope.limits;
        let cpu = match limits.cpu.get() {
            Some(_) if scope.suspends => Duration::from_nanos(scope.cpu_used.get()),
            Some(_) => ThreadClock::current()
                .read()
                .unwrap_or_default()
                .saturating_sub(scope.cpu_started),
            None => Duration::ZERO,
        };
        let traceback = if enclosing {
            self.traceback.borrow().clone()
        } else {
            self.traceback.take()
        };
        Some(Box::new(Stop {
            reason,
            elapsed: Ticks::now().since(scope.started),
            cpu,
            memory: self.memory.used.get(),
            limit: limits.describe(reason),
            message: self.take_said(enclosing).filter(|_| reason == Reason::Kill),
            traceback,
            enclosing,
        }))
    }

    /// Goes on with a stop that has passed through a call. **longjmp**: does not return.
    ///
    /// # Safety
    /// In a C function that Lua has called, in `l`, with a free slot. Nothing that owns anything is alive.
    pub unsafe fn unwind(&self, l: *mut lua_State) {
        // SAFETY: by the caller; a C function has the slots that a hook has.
        unsafe { raise::throw(self, l) };
    }
}
