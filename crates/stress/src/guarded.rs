//! A guarded state: the functions that programs expect, the calls with limits, the ways to close it.
//!
//! There are two kinds. A **host's** state is attached by its host ([`Vm`]), stays on its thread, and can be stopped by a handle. A
//! **guest's** state is attached from inside, as by a module ([`Guest`]); it may go to another thread between two calls. Both are interrupted
//! by ids.
//!
//! Every second one has guarded library functions ([`stdlib`]).

use crate::board::Targets;
use crate::{across, lua, tally};
use leash::sys::{self, lua_State};
use leash::{Answer, Event, Guest, Jit, Limits, Resumed, Stop, Vm, Watch, stdlib};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

thread_local! {
    /// The state that this thread runs: for the functions that Lua calls.
    static TARGETS: Cell<*const Targets> = const { Cell::new(std::ptr::null()) };
    /// What the next interrupt does.
    static HANDLER: Cell<Handler> = const { Cell::new(Handler::GoOn) };
}

/// What an interrupt does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Nothing.
    GoOn,
    /// It calls a Lua function that makes garbage, as a module's handler may, and goes on.
    CallLua,
    /// It raises an error.
    Raise,
}

/// The error of [`Handler::Raise`].
pub const INTERRUPTED: &str = "interrupted";

static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

/// How many states have been opened: every second one has guarded library functions, and what programs compute there is what the originals do.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// # Safety
/// A live state on this thread, with its libraries.
unsafe fn guard_library(l: *mut lua_State) {
    for table in [c"_G", c"string", c"table"] {
        // SAFETY: by the caller.
        unsafe {
            sys::lua_getglobal(l, table.as_ptr());
            let replaced = stdlib::guard(l, -1);
            assert!(replaced > 0, "{table:?}");
            sys::lua_settop(l, -2);
        }
    }
}

/// See the module's header.
pub struct Guarded {
    l: *mut lua_State,
    guest: Guest,
    vm: Option<Vm>,
    targets: Arc<Targets>,
}

impl Guarded {
    /// A new state, of either kind.
    ///
    /// # Panics
    /// If it cannot be attached.
    pub fn open(hosts: bool, setup: &str) -> Guarded {
        let l = lua::open();
        // SAFETY: a state of our own. It is run by one thread at a time.
        unsafe {
            if OPENED.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                guard_library(l);
            }
            let vm = hosts.then(|| Vm::attach(l).expect("attach"));
            let guest = Guest::attach(l).expect("attach");
            tally::opened(guest.jit());
            guest.on_interrupt(on_interrupt);
            guest.on_watch(on_watch);
            if let Some(vm) = &vm {
                vm.libraries_are_open();
            }
            let id = guest.id(l).expect("an id for the main state");
            lua::function(l, c"share", share);
            lua::function(l, c"nested", nested);
            across::plant(l, guest);
            lua::function(l, c"watch", watch);
            lua::function(l, c"advance", advance);
            sys::lua_pushlightuserdata(l, key());
            lua::load(
                l,
                "local seen = {} for i = 1, 5 do seen[i] = {i} end return #seen",
            );
            sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
            lua::run(l, setup).expect("the setup runs");
            Guarded {
                l,
                guest,
                vm,
                targets: Targets::announce(id),
            }
        }
    }

    /// It has to stay on its thread.
    pub fn is_hosts(&self) -> bool {
        self.vm.is_some()
    }

    /// How its compiled code is reached.
    pub fn jit(&self) -> Jit {
        self.guest.jit()
    }

    /// What others may interrupt.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether calls can be stopped by a handle from now on.
    pub fn stoppable(&self, yes: bool) {
        let handle = self.vm.as_ref().filter(|_| yes).map(Vm::handle);
        self.targets.stop_by(handle);
    }

    /// Calls the program with `n` under `limits`: its value, its error, or the stop.
    pub fn run(
        &self,
        code: &str,
        n: usize,
        limits: &Limits,
        handler: Handler,
    ) -> Result<Result<String, String>, Box<Stop>> {
        TARGETS.set(Arc::as_ptr(&self.targets));
        HANDLER.set(handler);
        // SAFETY: a live state on this thread; the stack is as before afterwards.
        let outcome = unsafe {
            let top = sys::lua_gettop(self.l);
            lua::load(self.l, code);
            sys::lua_pushinteger(self.l, n as _);
            let outcome = match &self.vm {
                Some(vm) => vm.call(self.l, 1, 1, 0, limits),
                None => self.guest.call(self.l, 1, 1, 0, limits),
            };
            let outcome = outcome.map(|status| {
                let text = lua::pop(self.l);
                if status == 0 { Ok(text) } else { Err(text) }
            });
            let left = sys::lua_gettop(self.l) - top;
            if left != 0 {
                tally::fail(format!("{left} values were left on the stack by: {code}"));
            }
            outcome
        };
        HANDLER.set(Handler::GoOn);
        TARGETS.set(std::ptr::null());
        outcome
    }

    /// Closes it, by one of the ways that there are; under `limits` if there may be endless finalizers.
    pub fn close(mut self, limits: Option<&Limits>, rng: &mut fastrand::Rng) {
        self.targets.stop_by(None);
        // SAFETY: no call is open, and nothing of the state is used afterwards.
        unsafe {
            match (self.vm.take(), limits) {
                (Some(vm), Some(limits)) => drop(vm.close(limits)),
                (Some(vm), None) if rng.bool() => drop(vm.close(&Limits::new())),
                (vm, _) => {
                    drop(vm); // detaches
                    sys::lua_close(self.l);
                }
            }
        }
        self.targets.withdraw();
    }
}

/// A guest's state on its way to another thread.
pub struct Moving(Guarded);

// SAFETY: only of guests' states (see `new`), which may be run by any thread, one after the other; `Moving` is all there is of it.
unsafe impl Send for Moving {}

impl Moving {
    /// Takes a guest's state away from this thread.
    pub fn new(state: Guarded) -> Result<Moving, Guarded> {
        if state.is_hosts() {
            Err(state)
        } else {
            Ok(Moving(state))
        }
    }

    /// It is on this thread now.
    pub fn arrive(self) -> Guarded {
        self.0
    }
}

// --- what Lua and the hook call. **longjmp**: what these call may raise, and nothing in them owns anything then. ---

unsafe extern "C-unwind" fn on_interrupt(l: *mut lua_State, _: *mut lua_State) {
    tally::delivered();
    // SAFETY: in a hook, with the stack that it is promised.
    unsafe {
        match HANDLER.get() {
            Handler::GoOn => {}
            Handler::CallLua => {
                let top = sys::lua_gettop(l); // what is below belongs to the function that was interrupted
                sys::lua_pushlightuserdata(l, key());
                sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
                sys::lua_pcall(l, 0, 0, 0);
                sys::lua_settop(l, top);
            }
            Handler::Raise => {
                sys::lua_pushstring(l, c"interrupted".as_ptr());
                sys::lua_error(l);
            }
        }
    }
}

unsafe extern "C-unwind" fn on_watch(_: *mut lua_State, _: Event) -> Answer {
    Answer::GoOn
}

/// `share(co)`
unsafe extern "C-unwind" fn share(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua, in a guarded state.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        let id = Guest::of(l).and_then(|guest| guest.id(co));
        if let (Some(id), Some(targets)) = (id, TARGETS.get().as_ref()) {
            targets.share(id);
        }
    }
    0
}

/// `nested(ms, f)`: true and the value of `f()`, or false if the limit was reached.
unsafe extern "C-unwind" fn nested(l: *mut lua_State) -> c_int {
    // SAFETY: as above. A stop is dropped before anything is raised.
    unsafe {
        let limits = Limits::new().timeout(milliseconds(l, 1));
        sys::lua_settop(l, 2);
        let Some(guest) = Guest::of(l) else {
            return 0;
        };
        match guest.call(l, 0, 1, 0, &limits) {
            Ok(0) => {
                sys::lua_pushboolean(l, 1);
                sys::lua_insert(l, -2);
                return 2;
            }
            Ok(_) => {}
            Err(stop) if !stop.enclosing => {
                drop(stop);
                sys::lua_pushboolean(l, 0);
                return 1;
            }
            Err(stop) => {
                drop(stop);
                guest.unwind(l);
            }
        }
        sys::lua_error(l)
    }
}

/// `watch(co, ms)`: whether `co` must yield in time from now on.
unsafe extern "C-unwind" fn watch(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        let kill = Some(milliseconds(l, 2));
        let limits = Watch {
            kill,
            ..Watch::default()
        };
        let watched = Guest::of(l).is_some_and(|guest| guest.watch(co, &limits, 1, b"stress"));
        sys::lua_pushboolean(l, watched.into());
    }
    1
}

/// `advance(co)`: resumes it under its watch.
unsafe extern "C-unwind" fn advance(l: *mut lua_State) -> c_int {
    // SAFETY: as above. The coroutine is suspended, or was killed.
    unsafe {
        let co = sys::lua_tothread(l, 1);
        let Some(guest) = Guest::of(l) else {
            return 0;
        };
        match guest.resume(l, co, 0) {
            Resumed::Killed => sys::lua_pushstring(l, c"killed".as_ptr()),
            Resumed::Status(sys::LUA_OK | sys::LUA_YIELD, 1) => {
                sys::lua_xmove(co, l, 1);
                return 1;
            }
            Resumed::Status(..) => {
                sys::lua_settop(co, -2); // the error
                sys::lua_pushstring(l, c"failed".as_ptr())
            }
        };
    }
    1
}

unsafe fn milliseconds(l: *mut lua_State, index: c_int) -> Duration {
    // SAFETY: by the caller: an argument.
    let ms = unsafe { sys::lua_tonumber(l, index) };
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}
