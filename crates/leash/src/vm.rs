//! Attaching to a state, calling under limits, and stopping from elsewhere: the API of the engine.

use crate::jit::{self, Jit};
use crate::layout;
use crate::limits::{Limits, Stop};
use crate::record::{RECORDS, Record, StuckFn, after_fork};
use crate::request::{BREAK, INTERRUPT, KILL};
use crate::scope::Scope;
use crate::sentinel;
use crate::slab::Place;
use crate::state::State;
use crate::sys::{self, lua_State};
use crate::{hook, hookless};
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;

/// Why a state could not be attached. The state is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The pointer was null: `luaL_newstate` was out of memory.
    #[error("there is no Lua state: creating it failed, probably for lack of memory")]
    NoState,
    /// Attached already.
    #[error("this Lua state is attached to Leash already")]
    Attached,
    /// The main state was not found. (A script can take it out of the registry; 5.1 and LuaJIT do not name it.)
    #[error(
        "the main state cannot be told from here (on {}: attach from the main state, not from inside a coroutine)",
        crate::ENGINE
    )]
    Coroutine,
    /// A module cannot tell when this state runs, so it could never interrupt it. Not known to happen.
    #[error(
        "this build of {} is not known: the place of its innermost protected call was not found",
        crate::ENGINE
    )]
    Unknown,
    /// The timer thread could not be started.
    #[error("cannot start the timer thread: {0}")]
    Timer(#[from] watchdog::TimerError),
    /// The signal handler could not be installed.
    #[error("cannot install the signal handler: {0}")]
    Signal(#[from] watchdog::poke::PokeError),
    /// Lua raised an error while its state was looked at.
    #[error("Lua failed while its state was being attached: {0}")]
    Lua(String),
}

/// An attached Lua state.
///
/// From the attach to the drop, calls through [`call`](Vm::call) can be limited and stopped. Running code costs nothing by it:
/// no hook is set until something is due (an instruction limit excepted). The wrapped allocator keeps small blocks that Lua gives back for its next requests, at most twice as much
/// as is in use: so the host's own is called less often, and sees them go late, at the latest when the `Vm` is dropped.
///
/// Not `Send`: the state belongs to a thread. [`Handle`] is the part that other threads may have.
///
/// On LuaJIT compiled code is guarded from the attach on ([`Jit`]); under an instruction limit, code runs interpreted.
///
/// ```
/// use std::time::Duration;
/// use leash::{Limits, Reason, Vm, sys};
///
/// // SAFETY: a state of our own, used as the C API says, on one thread.
/// unsafe {
///     let l = sys::luaL_newstate();
///     let vm = Vm::attach(l)?;
///     sys::luaL_openlibs(l);
///     sys::luaL_loadstring(l, c"while true do pcall(error) end".as_ptr());
///     let stop = vm.call(l, 0, 0, 0, &Limits::new().timeout(Duration::from_millis(50))).unwrap_err();
///     assert_eq!(stop.reason, Reason::Timeout);
///     vm.close(&Limits::new());
/// }
/// # Ok::<(), leash::AttachError>(())
/// ```
pub struct Vm {
    state: NonNull<State>,
    not_send: PhantomData<*mut lua_State>,
}

impl Vm {
    /// Attaches to the state of `l`, best directly after it was created. Coroutines that exist already are found.
    ///
    /// # Errors
    /// See [`AttachError`]. Nothing is changed then.
    ///
    /// # Safety
    /// `l` is null or a coroutine of a live Lua state of this [engine](crate::ENGINE), which no other thread uses during
    /// this call, nor during any use of the `Vm`. The state is not inside a hook. The allocator that the state has now can be called until the `Vm` is gone, also if the
    /// state gets another meanwhile. The `Vm` is dropped, on the same thread, before
    /// the state is closed, or consumed by [`close`](Vm::close). (A script that closes the state by `os.exit(true, true)` is
    /// noticed.)
    pub unsafe fn attach(l: *mut lua_State) -> Result<Vm, AttachError> {
        // SAFETY: by the caller.
        unsafe {
            let vm = attach_state(l)?;
            if sentinel::plant(vm.state(), l) != 0 {
                return Err(AttachError::Lua(pop_message(l)));
            }
            Ok(vm)
        }
    }

    /// The state, which from now on belongs to nobody here.
    pub(crate) fn into_state(self) -> NonNull<State> {
        let state = self.state;
        std::mem::forget(self);
        state
    }

    pub(crate) fn state(&self) -> &State {
        // SAFETY: leaked in `attach`, freed by `drop`.
        unsafe { self.state.as_ref() }
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle {
        Handle::of(self.state())
    }

    /// How compiled code is made to stop: [`Jit::Guarded`] on a LuaJIT that can.
    pub fn jit(&self) -> Jit {
        self.state().jit.get()
    }

    /// LuaJIT: to be called after `luaL_openlibs`, which switches the compiler on. Where code has to run interpreted (under an
    /// instruction limit, or if compiled code could not be stopped), it is switched off again. The library `jit.profile` is made
    /// to leave the guards of compiled code alone, and `jit.on` to leave the compiler off where it must be.
    ///
    /// # Safety
    /// The state runs on this thread.
    pub unsafe fn libraries_are_open(&self) {
        if self.state().interpreted.get() {
            // SAFETY: by the caller: nothing runs in the state but perhaps the C function that calls this.
            unsafe { self.state().interpret_only(self.state().main.get()) };
        }
        #[cfg(feature = "luajit")]
        // SAFETY: by the caller.
        unsafe {
            crate::compiler::wrap(self.state().main.get());
            if self.jit() == Jit::Guarded {
                crate::profile::wrap(self.state().main.get());
                crate::guards::thin(self.state(), self.state().main.get());
            }
        }
    }

    /// What is known of the inside of this engine's states: see `docs/architecture.md`.
    pub fn layout(&self) -> layout::Layout {
        self.state().layout.get()
    }

    /// Bytes in use by the state.
    pub fn memory(&self) -> usize {
        self.state().memory.used.get()
    }

    /// Calls `stuck` on the timer thread, once, when a stop has been asked for and code does not come back for `grace`: it is in
    /// a place where no hook reaches, such as a C function. For hosts that would rather end the process.
    pub fn on_stuck(&self, grace: Duration, stuck: StuckFn) {
        self.state().record().on_stuck(grace, stuck);
    }

    /// `lua_pcall` with limits: the same stack effect, and `Ok(status)` is its status. `Err(stop)`: a limit or a
    /// [`Handle`] ended the call, and the function, its arguments and what it left are off the stack. Calls may be nested; the
    /// limit that is reached first ends the call that set it.
    ///
    /// # Errors
    /// The [`Stop`]: what ended the call, and where. A Lua error is none: it is `Ok(status)`, with the error object on the stack.
    ///
    /// # Safety
    /// As `lua_pcall`. `l` belongs to the attached state and runs on this thread.
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

    /// What the calls that are open have to end with, if anything: the outermost of those that have to. For hosts that a script can leave inside a call,
    /// without the call's return: `os.exit(code, true)` closes the state, under the limits of the call, and calls `exit`. (`atexit` is the place to ask.)
    ///
    /// On the thread of the state, which may be gone.
    pub fn stopping(&self) -> Option<Box<Stop>> {
        self.state().report_so_far()
    }

    /// `lua_close` under limits: it runs every finalizer. Returns what stopped them, if anything did; the state is closed all the
    /// same. (A finalizer that is stopped gives way to the next.)
    ///
    /// # Safety
    /// As `lua_close`; no call is open in the state.
    pub unsafe fn close(self, limits: &Limits) -> Option<Box<Stop>> {
        let state = self.state();
        let main = state.main.get();
        if main.is_null() {
            return None;
        }
        // SAFETY: live, on this thread. What is done before the limits are in force is not to run finalizers. `lua_close` stops the profiler where a sample that is just being taken follows a
        // null pointer.
        #[cfg(feature = "luajit")]
        unsafe {
            state.stop_collector();
            jit::take_back(state, main);
        }
        // SAFETY: no scope is open.
        let scope = unsafe { Scope::new(limits, main, state.memory.used.get()) };
        state.closing.set(true);
        // SAFETY: by the caller.
        unsafe { state.leftover.closing(state) };
        if Scope::must_be_interpreted(limits, state) {
            // SAFETY: by the caller. It is not in a finalizer.
            unsafe { state.interpret_meanwhile(main) };
        }
        state.start_collector();
        state.enter(&scope);
        // SAFETY: by the caller. The allocator sees the main block go (on LuaJIT, the sentinel tells).
        unsafe { sys::lua_close(main) };
        let enclosing = state.leave(&scope);
        state.report(&scope, enclosing)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let state = self.state();
        let main = state.main.get();
        if !main.is_null() && !state.allocator_is_ours() {
            // Somebody has put an allocator of his own in front of ours, and may go on calling ours: it stays, and passes on.
            // SAFETY: the state is live, and so is the host's allocator.
            unsafe { state.memory.keep_no_spares() };
            state.main_is_gone();
            return;
        }
        if !main.is_null() {
            // SAFETY: by the contract of `attach`: the state is live, on this thread, and no call is open. No finalizer is to run, for nothing would stop it.
            unsafe {
                state.stop_collector();
                sentinel::uproot(state, main);
                hookless::overflow::uproot(main);
                #[cfg(feature = "luajit")]
                {
                    crate::recorder::settle(state, main);
                    crate::guards::uproot(state, main);
                }
                // Nothing that may collect after this: the set of coroutines would not see them go.
                state.unwrap_allocator();
                jit::unguard(state, true);
                state.stays_interpreted.set(false);
                state.compile_again();
                state.start_collector();
            }
            state.main_is_gone();
            if sys::STRINGS_KEEP_ALLOCATOR {
                // Strings will go on calling our allocator for as long as the state lives, which cannot be seen from here: so what it
                // looks at stays, a few hundred bytes, and passes on. The record may serve another state.
                state.follows.set(false);
                state.place.give_back();
                return;
            }
        }
        // SAFETY: leaked by the attach; the allocator no longer refers to it, and no handler does, for it has no owner.
        unsafe { State::free(self.state.as_ptr()) };
    }
}

/// A state, for other threads: small, and harmless once the state is gone.
#[derive(Clone, Copy)]
pub struct Handle {
    place: Place<Record>,
    generation: u64,
}

impl Handle {
    /// Stops the outermost open call of the state with [`Reason::Interrupt`]. False if the state is gone or no call is open.
    pub fn interrupt(&self) -> bool {
        self.ask(INTERRUPT)
    }

    /// Stops the outermost open call of the state with [`Reason::Kill`]. False if the state is gone or no call is open.
    pub fn kill(&self) -> bool {
        self.ask(KILL)
    }

    /// Has the function that was given to [`Guest::on_break`](crate::Guest::on_break) called in whatever coroutine runs, once: where it
    /// raises, that is an error as any other. False if the state is gone. A state that does not run is broken off when it does.
    pub fn break_off(&self) -> bool {
        self.ask(BREAK)
    }

    /// Whether the state has been told to break off, and has not yet. Async-signal-safe.
    pub fn is_breaking_off(&self) -> bool {
        self.exists() && self.place.get().request.flags() & BREAK != 0
    }

    /// Whether the state is still attached. Async-signal-safe.
    pub fn exists(&self) -> bool {
        self.place.get().request.generation() == self.generation
    }

    pub(crate) fn of(state: &State) -> Handle {
        Handle {
            place: state.place,
            generation: state.record().request.generation(),
        }
    }

    fn ask(&self, flags: u64) -> bool {
        self.place.get().ask(self.generation, flags)
    }
}

/// LuaJIT: what its libraries need could not be made. (Without it a script could get away.)
#[cfg(feature = "luajit")]
const NO_MEMORY: &str = "not enough memory";

/// Attaches to the state of `l`. Dropping the `Vm` undoes it.
///
/// # Safety
/// As [`Vm::attach`].
pub(crate) unsafe fn attach_state(l: *mut lua_State) -> Result<Vm, AttachError> {
    if l.is_null() {
        return Err(AttachError::NoState);
    }
    start()?;
    // SAFETY: by the caller.
    let main = unsafe { main_of(l) }.ok_or(AttachError::Coroutine)?;
    // SAFETY: by the caller.
    if crate::alloc::is_ours(unsafe { sys::allocator(main) }.0) {
        return Err(AttachError::Attached);
    }
    let place = RECORDS.take();
    let record = place.get();
    record.reset();
    if let Err(e) = record.with_alarm(place) {
        place.give_back();
        return Err(e.into());
    }
    // SAFETY: `main` is live, on this thread.
    let state = Box::new(unsafe { State::new(main, place) });
    let vm = Vm {
        state: NonNull::from(Box::leak(state)),
        not_send: PhantomData,
    };
    record.state.store(vm.state.as_ptr(), Ordering::Release);
    crate::pcalls::learn();
    hookless::deep::learn();
    // SAFETY: by the caller; the state's record lies still in its box.
    let status = unsafe {
        vm.state().wrap_allocator();
        layout::learn(vm.state(), l)
    };
    if status != 0 {
        // SAFETY: an error status leaves its object on the stack.
        let message = unsafe { pop_message(l) };
        return Err(AttachError::Lua(message)); // dropping `vm` detaches
    }
    // SAFETY: attached, on this thread.
    unsafe {
        #[cfg(feature = "luajit")]
        {
            if !(crate::recorder::plant(vm.state(), l) && crate::compiler::wrap(l)) {
                return Err(AttachError::Lua(NO_MEMORY.into()));
            }
            crate::recorder::settle(vm.state(), l);
        }
        jit::guard(vm.state());
        #[cfg(feature = "luajit")]
        if vm.state().jit.get() == Jit::Guarded {
            if !crate::profile::wrap(l) {
                return Err(AttachError::Lua(NO_MEMORY.into()));
            }
            crate::guards::thin(vm.state(), l);
        }
    }
    Ok(vm)
}

/// What is needed once in a process.
fn start() -> Result<(), AttachError> {
    // SAFETY: `on_poke` keeps to what a signal handler may do; see there.
    unsafe { watchdog::poke::on_poke(hook::on_poke)? };
    static FORK: Once = Once::new();
    FORK.call_once(|| watchdog::fork::on_child(after_fork));
    Ok(())
}

/// The main state of the state that `l` belongs to.
unsafe fn main_of(l: *mut lua_State) -> Option<*mut lua_State> {
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller of `attach`; two slots are free in any C function and in a new state.
    unsafe {
        sys::lua_rawgeti(l, sys::LUA_REGISTRYINDEX, sys::LUA_RIDX_MAINTHREAD as _);
        let main = sys::lua_tothread(l, -1);
        sys::lua_settop(l, -2);
        // A script with the `debug` library can put anything there.
        if main.is_null() {
            return None;
        }
        let is_main = sys::lua_pushthread(main) != 0;
        sys::lua_settop(main, -2);
        is_main.then_some(main)
    }
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    // SAFETY: by the caller of `attach`; one slot is free.
    unsafe {
        let is_main = sys::lua_pushthread(l) != 0;
        sys::lua_settop(l, -2);
        if is_main {
            Some(l)
        } else {
            crate::mainstate::find(l)
        }
    }
}

/// Takes the error object off the stack, as text.
pub(crate) unsafe fn pop_message(l: *mut lua_State) -> String {
    // SAFETY: the object is on the stack; `lua_tostring` converts numbers in place and returns null for other types.
    unsafe {
        let s = sys::lua_tostring(l, -1);
        let text = if s.is_null() {
            "(error object is not a string)".to_string()
        } else {
            CStr::from_ptr(s).to_string_lossy().into_owned()
        };
        sys::lua_settop(l, -2);
        text
    }
}
