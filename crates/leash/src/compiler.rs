//! LuaJIT: the compiler, off and on again.
//!
//! Compiled code counts no instructions (nor those between two looks at a clock of the user's, [`crate::hook`]), and where it has no guards ([`crate::jit`]) it cannot be stopped at all. There it is switched off
//! for the state, and what has been compiled is thrown away, until the last call, or polled resume, that needs it so is over; for good, once somebody may interrupt
//! a state without guards by its id, or watches its coroutines.
//!
//! **As it was.** A host may have switched the compiler off itself: then it stays off. LuaJIT's C API does not tell whether it is on, but
//! `jit.status` does, which is kept in the registry from when the library was first seen. If there is none, it counts as on.
//!
//! **The script** may switch it on again, by `jit.on()`. So that is wrapped: it does what it does, then the compiler goes off again, and the script's wish
//! comes true when the call is over. A copy that was taken before the attach is the plain one. Where code has guards, the count hook notices (`hook`, "marked"); on a LuaJIT
//! without them such a script outlives its limit, and `leash.info().jit` says `interpreted`.

use crate::hookless;
use crate::jit::Jit;
use crate::state::State;
use crate::sys;

#[cfg(feature = "luajit")]
pub use imp::{is_on, wrap};

impl State {
    /// Compiled code is not entered from now on. Compiled code that called us goes on in the interpreter. Nothing happens in a finalizer,
    /// where LuaJIT does not allow it: compiled code that set the collector off would go on in memory that is no more.
    ///
    /// # Safety
    /// `l` is the coroutine that runs on this thread, or the main state if none runs; not on a trace, for a C function or the hook is running.
    pub unsafe fn interpret_only(&self, l: *mut sys::lua_State) {
        if hookless::in_finalizer(self) {
            return;
        }
        // SAFETY: by the caller. The compiler is off while the recorder is settled, so that no new recording begins.
        unsafe {
            sys::compile_no_more(l);
            #[cfg(feature = "luajit")]
            crate::recorder::settle(self, l);
            sys::forget_compiled(l);
        }
        self.interpreted.set(true);
    }

    /// The same, until [`compile_again`](State::compile_again), for a call that begins in `l`. False in a finalizer, unless that is in force
    /// already.
    ///
    /// # Safety
    /// `l` runs on this thread, outside a hook.
    pub unsafe fn interpret_meanwhile(&self, l: *mut sys::lua_State) -> bool {
        if self.interpreted.get() {
            return true;
        }
        // SAFETY: by the caller.
        unsafe {
            // Our own protected call would catch a stop, which would be lost; and whether the compiler is on would not be known.
            self.runs_ours.set(true);
            self.compiles_later.set(is_on(l));
            self.runs_ours.set(false);
            self.interpret_only(l);
        }
        self.interpreted.get()
    }

    /// Code of this state may be interrupted at any time from now on. Where compiled code has no guards, it is not entered any more.
    pub fn stay_reachable(&self) {
        if self.jit.get() == Jit::Interpreted && !self.stays_interpreted.get() {
            // SAFETY: the module was entered from it, and has not returned.
            unsafe { self.interpret_only(self.caller.get()) };
            self.stays_interpreted.set(self.interpreted.get());
        }
    }

    /// Undoes [`interpret_only`](State::interpret_only), unless a polled watch still needs it.
    #[inline]
    pub fn compile_again(&self) {
        if self.interpreted.get() {
            self.compile_unless_polled();
        }
    }

    #[cold]
    fn compile_unless_polled(&self) {
        let mut polled = false;
        self.for_each_polled(|_| polled = true);
        if polled || self.stays_interpreted.get() {
            return;
        }
        self.interpreted.set(false);
        if self.compiles_later.get() {
            // SAFETY: the state is live, on this thread.
            unsafe { sys::compile_again(self.main.get()) };
        }
    }

    /// The same, outside of whatever ends calls: perhaps the last call or polled watch that needed it so is over, or was collected with its coroutine.
    pub fn compile_unless_limited(&self) {
        let limited = || self.least_budget().is_some();
        let guarded = || self.scope.get().is_null() || self.jit.get() == Jit::Guarded;
        if self.interpreted.get() && guarded() && !limited() && !hookless::in_finalizer(self) {
            self.compile_again();
        }
    }
}

/// Other engines have no compiler.
///
/// # Safety
/// None is needed.
#[cfg(not(feature = "luajit"))]
unsafe fn is_on(_: *mut sys::lua_State) -> bool {
    true
}

#[cfg(feature = "luajit")]
mod imp {
    use crate::hook::state_of;
    use crate::library;
    use crate::sys::{self, lua_State};
    use std::ffi::{c_int, c_void};

    /// Its address is the key of `jit.status` in the registry.
    static STATUS: u8 = 0;

    /// Whether the compiler is on.
    ///
    /// # Safety
    /// `l` runs on this thread, outside a hook.
    pub unsafe fn is_on(l: *mut lua_State) -> bool {
        let mut on = true;
        // SAFETY: by the caller; `ask` takes a bool.
        unsafe {
            if sys::lua_checkstack(l, 5) != 0
                && sys::protected(l, ask, (&raw mut on).cast::<c_void>()) != 0
            {
                sys::lua_settop(l, -2);
            }
        }
        on
    }

    /// **longjmp**, as all below.
    unsafe extern "C-unwind" fn ask(l: *mut lua_State) -> c_int {
        // SAFETY: a C function, with free slots, and a bool that outlives the call.
        unsafe {
            let on = sys::lua_touserdata(l, 1).cast::<bool>();
            let kept = sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, (&raw const STATUS).cast());
            if kept != sys::LUA_TFUNCTION && library::loaded(l, c"jit") {
                sys::lua_pushstring(l, c"status".as_ptr());
                sys::lua_rawget(l, -2);
            }
            if sys::lua_iscfunction(l, -1) != 0 {
                sys::lua_call(l, 0, 1);
                *on = sys::lua_toboolean(l, -1) != 0;
            }
        }
        0
    }

    /// Keeps `jit.status`, and wraps `jit.on`. False if there is no memory for it.
    ///
    /// # Safety
    /// `l` is a live state on its own thread with free stack, not in a signal handler.
    pub unsafe fn wrap(l: *mut lua_State) -> bool {
        // SAFETY: by the caller; `install` takes nothing.
        unsafe { library::run(l, install) }
    }

    unsafe extern "C-unwind" fn install(l: *mut lua_State) -> c_int {
        // SAFETY: a C function has LUA_MINSTACK free slots. Fields are read and written without metamethods.
        unsafe {
            if !library::loaded(l, c"jit") {
                return 0;
            }
            sys::lua_pushstring(l, c"status".as_ptr());
            sys::lua_rawget(l, -2);
            let known = sys::lua_rawgetp(l, sys::LUA_REGISTRYINDEX, (&raw const STATUS).cast());
            sys::lua_settop(l, -2);
            if known == sys::LUA_TNIL && sys::lua_iscfunction(l, -1) != 0 {
                sys::lua_rawsetp(l, sys::LUA_REGISTRYINDEX, (&raw const STATUS).cast());
            } else {
                sys::lua_settop(l, -2);
            }
            library::replace(l, c"on", on);
            library::replace(l, c"off", off);
        }
        0
    }

    /// In the place of `jit.on`.
    unsafe extern "C-unwind" fn on(l: *mut lua_State) -> c_int {
        // SAFETY: a C function that Lua has called.
        unsafe { switch(l, true) };
        0
    }

    /// In the place of `jit.off`.
    unsafe extern "C-unwind" fn off(l: *mut lua_State) -> c_int {
        // SAFETY: as `on`.
        unsafe { switch(l, false) };
        0
    }

    /// Where the compiler has to be off, what the script wants comes true later.
    unsafe fn switch(l: *mut lua_State, on: bool) {
        // SAFETY: in a C function that Lua has called. The plain function is called directly and not through `lua_pcall`: `jit.on(true)` is about
        // the function that calls it, and looks for it one level up.
        unsafe {
            let all = sys::lua_isnoneornil(l, 1) != 0; // not one function
            if let Some(plain) = sys::lua_tocfunction(l, sys::lua_upvalueindex(1)) {
                plain(l);
            }
            if let Some(state) = state_of(l).filter(|s| s.interpreted.get()) {
                if all {
                    state.compiles_later.set(on);
                }
                state.interpret_only(l);
            }
        }
    }
}

#[cfg(all(test, feature = "luajit"))]
mod tests {
    use crate::guest::Guest;
    use crate::hook::state_of;
    use crate::limits::Limits;
    use crate::request::CHECK;
    use crate::sys::{self, lua_State};
    use std::ffi::c_int;
    use std::time::Duration;
    use watchdog::Ticks;

    /// A stop that came while LuaJIT was asked was caught by the protected call in which it is: a finalizer that did nothing but call with instruction limits ran on for tenths of a second. And what
    /// was switched off before counted as switched on.
    #[test]
    fn no_stop_is_raised_while_luajit_is_asked() {
        const LIMIT: Duration = Duration::from_millis(1);
        unsafe extern "C-unwind" fn ask(l: *mut lua_State) -> c_int {
            let state = state_of(l).unwrap();
            let began = Ticks::now();
            while Ticks::now().since(began) < 2 * LIMIT {}
            state.ask_self(CHECK); // the hook is set
            // SAFETY: this runs in it.
            assert!(unsafe { state.interpret_meanwhile(l) });
            assert!(!state.compiles_later.get());
            assert!(state.traceback.borrow().is_empty(), "it was stopped there");
            0
        }
        // SAFETY: a new state, on this thread, closed at the end.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            let guest = Guest::attach(l).unwrap();
            let off = "jit.off()";
            sys::luaL_loadbuffer(l, off.as_ptr().cast(), off.len(), c"=off".as_ptr());
            sys::lua_call(l, 0, 0);
            sys::lua_pushcfunction(l, ask);
            let _ = guest.call(l, 0, 0, 0, &Limits::new().timeout(LIMIT));
            sys::lua_close(l);
        }
    }
}
