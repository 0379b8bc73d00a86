//! A state that is guarded from inside, by a module that its script has required.
//!
//! [`crate::Vm`] is for the host: it owns the attach, and calls go through it. A module is loaded into a state that somebody else runs,
//! stays attached until the state is closed, and can never say when that is. So a guest is a reference, its record belongs to
//! the state, and the allocator frees it when the state's last block is freed (LuaJIT: the [sentinel](crate::sentinel) does).

use crate::call::Ended;
use crate::coroutines::SavedHook;
use crate::jit::Jit;
use crate::limits::{Limits, Reason, Stop};
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::vm::{AttachError, Handle, attach_state, pop_message};
use crate::{hook, sentinel, target, userhook};
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

/// Called in the hook of an interrupted coroutine: with the coroutine that runs, and the one that was interrupted. They differ on LuaJIT
/// alone, where an interrupt of the main state meets whichever coroutine runs. Null: whatever runs was meant. It may push, call, raise, and return, as a hook may.
pub type InterruptFn = unsafe extern "C-unwind" fn(*mut lua_State, *mut lua_State);

/// A hook that the user has set: its function, its mask and its count; no function, no hook.
pub type UserHook = (Option<sys::Hook>, c_int, c_int);

/// A guarded state, as its own code sees it. Copy it as you like, but use it only in calls from that state.
#[derive(Clone, Copy)]
pub struct Guest {
    state: NonNull<State>,
}

impl Guest {
    /// Attaches to the state of `l` for the rest of its life, or finds it attached. Any coroutine will do.
    ///
    /// # Errors
    /// See [`AttachError`]; nothing is changed then.
    ///
    /// # Safety
    /// `l` is a coroutine of a live state of this engine, and runs on this thread (as in a C function that Lua has called). The
    /// library that holds this code is never unloaded.
    pub unsafe fn attach(l: *mut lua_State) -> Result<Guest, AttachError> {
        // SAFETY: by the caller.
        if let Some(guest) = unsafe { Guest::again(l) } {
            return Ok(guest);
        }
        // SAFETY: by the caller. From here on the state owns the record.
        unsafe {
            let vm = attach_state(l)?;
            if sentinel::plant(vm.state(), l) != 0 {
                return Err(AttachError::Lua(pop_message(l)));
            }
            if vm.state().layout.get().jump.is_none() {
                return Err(AttachError::Unknown); // nothing could ever be delivered
            }
            let state = vm.into_state();
            let guest = Guest { state };
            guest.state().belongs_to_lua.set(true);
            guest.comes_from(l);
            Ok(guest)
        }
    }

    /// [`attach`](Guest::attach) to a state that is attached; none if it is not.
    ///
    /// # Safety
    /// As [`attach`](Guest::attach).
    #[inline]
    pub unsafe fn again(l: *mut lua_State) -> Option<Guest> {
        // SAFETY: by the caller.
        let guest = unsafe { Guest::of(l) }?;
        guest.comes_from(l);
        Some(guest)
    }

    /// `l` runs on this thread.
    fn comes_from(&self, l: *mut lua_State) {
        self.state().caller.set(l);
        let state = self.state();
        if !state.follows.replace(true) || state.is_elsewhere() {
            state.follow_to_this_thread();
        }
    }

    /// The guest of an attached state, from any of its coroutines.
    ///
    /// # Safety
    /// As [`attach`](Guest::attach).
    #[inline]
    pub unsafe fn of(l: *mut lua_State) -> Option<Guest> {
        // SAFETY: by the caller.
        let (f, ud) = unsafe { sys::allocator(l) };
        if f as usize == crate::alloc::allocate as *const () as usize {
            // Our allocator's user data is the state: the way of every resume.
            let state = NonNull::new(ud.cast())?;
            return Some(Guest { state });
        }
        hook::state_of(l).map(|s| Guest {
            state: NonNull::from(s),
        })
    }

    pub(crate) fn state(&self) -> &State {
        // SAFETY: attached; the record lives as long as the state, in whose calls alone a guest is used.
        unsafe { self.state.as_ref() }
    }

    /// The main state. (On 5.1 and LuaJIT the API has no way to ask for it.)
    pub fn main(&self) -> *mut lua_State {
        self.state().main.get()
    }

    /// What to call when a coroutine is interrupted.
    pub fn on_interrupt(&self, f: InterruptFn) {
        self.state().on_interrupt.set(Some(f));
    }

    /// What to call when the state is told to [break off](Handle::break_off) what it runs. Both arguments are the coroutine that runs.
    pub fn on_break(&self, f: InterruptFn) {
        self.state().stay_reachable();
        self.state().on_break.set(Some(f));
    }

    /// The state, for other threads.
    pub fn handle(&self) -> Handle {
        Handle::of(self.state())
    }

    /// The id of a coroutine or of the main state, for [`interrupt`](crate::interrupt). Stable for its life. None when there are 8
    /// million ids, or no memory.
    ///
    /// An interrupt of a suspended coroutine takes effect when it is resumed. On LuaJIT, where all coroutines share one hook, that is when
    /// the timer thread looks next: every 10 ms, and after a second every 100 ms; or at once, if [`resume`](Guest::resume) resumes it.
    ///
    /// # Safety
    /// `co` is a live coroutine of this state.
    pub unsafe fn id(&self, co: *mut lua_State) -> Option<u64> {
        let state = self.state();
        state.stay_reachable();
        if !sys::HOOK_PER_COROUTINE && co != state.main.get() && !state.coroutines.insert(co) {
            return None; // LuaJIT: only those that have ids, or are watched, are in the set
        }
        let entry = state.entry(co)?;
        if entry.target.get().is_none() {
            entry.target.set(target::take(state.record()));
        }
        entry.target.get().map(target::id)
    }

    /// How compiled code is made to stop.
    pub fn jit(&self) -> Jit {
        self.state().jit.get()
    }

    /// `lua_pcall` with limits, as [`Vm::call`](crate::Vm::call). What runs inside cannot yield across it; for that there are
    /// [`begin`](Guest::begin) and [`end`](Guest::end).
    ///
    /// # Errors
    /// As [`Vm::call`](crate::Vm::call). If the report says that an enclosing call has to end ([`Stop::enclosing`]), drop it and [`unwind`](Guest::unwind).
    ///
    /// # Safety
    /// As `lua_pcall`. `l` is a coroutine of this state, and runs on this thread. Nothing that owns anything is alive in the frames between
    /// here and Lua: on 5.5 the coroutine may close itself inside, and this call does not return then.
    pub unsafe fn call(
        &self,
        l: *mut lua_State,
        nargs: c_int,
        nresults: c_int,
        msgh: c_int,
        limits: &Limits,
    ) -> Result<c_int, Box<Stop>> {
        // SAFETY: by the caller.
        unsafe { self.state().call(l, nargs, nresults, msgh, limits) }
    }

    /// Whether `l` may yield inside a call with limits: not the main state, and not on 5.1.
    ///
    /// # Safety
    /// `l` is a coroutine of this state, and runs on this thread.
    #[inline]
    pub unsafe fn may_suspend(&self, l: *mut lua_State) -> bool {
        sys::YIELDS_ACROSS_CALLS && self.state().may_suspend(l)
    }

    /// Begins a call with limits: what `l` runs from here to [`end`](Guest::end). In between, whoever calls this has to make a protected call, which
    /// catches all errors, and across which `l` may yield only if `suspends`; `glued` if that is LuaJIT's own `pcall`, called by the [glue](Guest::glue);
    /// `note` is a number for its own use, which comes back at the end, and `hook` is [the user's](Guest::hook).
    /// Returns a number by which the end finds the call.
    ///
    /// Nothing needs to be done for a call that is never ended because its coroutine was closed or collected.
    ///
    /// # Errors
    /// Why there can be no such call: the error message of the call.
    ///
    /// # Safety
    /// `l` is a coroutine of this state, and runs on this thread. `suspends` only if it [may be](Guest::may_suspend).
    #[inline(always)]
    pub unsafe fn begin(
        &self,
        l: *mut lua_State,
        limits: &Limits,
        suspends: bool,
        glued: bool,
        note: c_int,
        hook: UserHook,
    ) -> Result<c_int, &'static CStr> {
        let (hook, mask, count) = hook;
        let users = SavedHook { hook, mask, count };
        let state = self.state();
        // SAFETY: by the caller.
        unsafe { state.begin(l, limits, suspends, glued, note, users) }.map(|scope| scope.serial)
    }

    /// Ends a call with limits, after its protected call has returned with `status`: says what has stopped it, if anything. The stack is as it was.
    ///
    /// If the report says that an enclosing call has to end ([`Stop::enclosing`]), drop it and [`unwind`](Guest::unwind).
    ///
    /// # Safety
    /// As [`begin`](Guest::begin), whose number `serial` is; an error of the protected call is on top of the stack.
    #[inline(always)]
    pub unsafe fn end(&self, l: *mut lua_State, serial: c_int, status: c_int) -> Ended {
        // SAFETY: by the caller.
        unsafe { self.state().end_by_serial(l, serial, status) }
    }

    /// The hook that the user has set in `l`, its mask and its count.
    ///
    /// # Safety
    /// `l` is a coroutine of this state, and runs on this thread.
    pub unsafe fn hook(&self, l: *mut lua_State) -> UserHook {
        // SAFETY: by the caller.
        let users = unsafe { userhook::get(self.state(), l) };
        (users.hook, users.mask, users.count)
    }

    /// Sets the user's hook in `l`, as [`hook`](Guest::hook) has returned it: after a stop it is off.
    ///
    /// # Safety
    /// As [`hook`](Guest::hook).
    pub unsafe fn set_hook(&self, l: *mut lua_State, (hook, mask, count): UserHook) {
        let users = SavedHook { hook, mask, count };
        // SAFETY: by the caller.
        unsafe { userhook::set(self.state(), l, users) };
    }

    /// Goes on with a stop that belongs to an enclosing call. Raises an error that no message handler sees: does not return.
    ///
    /// # Safety
    /// In a C function that Lua has called in `l`, a coroutine of this state, with a free slot. Nothing that owns anything is alive.
    pub unsafe fn unwind(&self, l: *mut lua_State) {
        // SAFETY: by the caller.
        unsafe { self.state().unwind(l) };
    }

    /// Bytes in use by the state.
    pub fn memory(&self) -> usize {
        self.state().memory.used.get()
    }

    /// Why the innermost open call has to end, if it has.
    pub fn stopping(&self) -> Option<Reason> {
        let mut reason = None;
        self.state()
            .for_each_scope(|s| reason = s.hit.get().or(reason));
        reason
    }
}
