//! A call with limits: what [`crate::Vm::call`] and [`crate::Guest::call`] have in common.
//!
//! `lua_pcall` between two steps: a [scope](crate::scope) is opened, and closed again. Whatever runs inside, an error of the hook
//! ends it and is caught by this `lua_pcall`, if by no other; then the scope says why. So the status that `lua_pcall` gives matters only if
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
//! Nothing that owns anything is alive in these frames while Lua runs: 5.5 can jump over them.

use crate::coroutines::SavedHook;
use crate::limits::{Limits, Reason, Stop};
use crate::request::CHECK;
use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, raise, userhook};
use std::ffi::c_int;
use std::time::Duration;
use watchdog::{Ticks, cpu::ThreadClock};

/// How deep calls may be nested. PUC Lua has this limit on nested C calls itself (`LUAI_MAXCCALLS`, 200); LuaJIT has none, and a
/// script that nests calls for ever would overflow the host's stack.
const MOST_NESTED: usize = 190;

impl State {
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
        self.drop_abandoned();
        // SAFETY: by the caller. The innermost scope is open while it is linked.
        let (base, scope) = unsafe {
            (
                sys::lua_gettop(l) - nargs - 1,
                Scope::new(limits, self.scope.get(), l, self.memory.used.get()),
            )
        };
        if scope.depth > MOST_NESTED {
            // SAFETY: the function and its arguments make place for the message; by the caller, an error may be raised here.
            unsafe {
                sys::lua_settop(l, base);
                sys::lua_pushstring(
                    l,
                    c"C stack overflow (too many nested calls with limits)".as_ptr(),
                );
            }
            return Ok(sys::LUA_ERRRUN);
        }
        // SAFETY: by the caller: `l` runs on this thread.
        if scope.must_be_interpreted(self) && !unsafe { self.interpret_meanwhile(l) } {
            // SAFETY: as above.
            unsafe {
                sys::lua_settop(l, base);
                sys::lua_pushstring(
                    l,
                    c"this call cannot be limited in a finalizer, where LuaJIT's compiler cannot be switched off"
                        .as_ptr(),
                );
            }
            return Ok(sys::LUA_ERRRUN);
        }
        // SAFETY: stays in place until the state goes.
        let scope = unsafe { &*self.scopes.put(scope) };
        // SAFETY: `l` runs on this thread.
        let users = unsafe { userhook::get(self, l) };
        self.enter(scope, l);
        // SAFETY: by the caller. An error inside is caught here; a stop cannot be caught further in.
        let status = unsafe { sys::lua_pcall(l, nargs, nresults, msgh) };
        // SAFETY: just returned.
        if unsafe { hook::memory_ran_out(self, l, status) } {
            // The limit may be that of a call around this one.
            self.for_each_scope(|s| {
                if s.memory_until.get() == scope.memory_least.get() {
                    s.hit(Reason::Memory);
                }
            });
        }
        let enclosing = self.leave(scope);
        if enclosing && self.record().request.flags() == 0 {
            self.ask_self(CHECK); // memory has run out for a call around this one, and nobody has been asked yet
        }
        let Some(stop) = self.report(scope, limits, enclosing) else {
            return Ok(status);
        };
        // SAFETY: `base` values were there before the function; `l` runs on this thread.
        unsafe {
            if !enclosing {
                let off = self.belongs_to_lua.get();
                userhook::set(self, l, if off { SavedHook::default() } else { users });
            }
            sys::lua_settop(l, base);
        }
        Err(stop)
    }

    /// The report, if `scope`, which has been left, or one around it was stopped.
    pub fn report(&self, scope: &Scope, limits: &Limits, enclosing: bool) -> Option<Box<Stop>> {
        let mut reason = scope.hit.get();
        if enclosing {
            self.for_each_scope(|s| reason = s.hit.get().or(reason));
        }
        let reason = reason?;
        let cpu = match limits.cpu {
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
