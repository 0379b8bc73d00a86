//! One run of a stretch: the interrupt after its n-th instruction, and whether everything is then as it has to be.
//!
//! - **kill**: a host's state, a handle. From wherever it was made, as long as the call is open, it must end the call: after the stretch the program
//!   waits for it.
//! - **interrupt**: a module's state, by an id, and the handler goes on. It must have been called exactly once, and the program compute what it
//!   computes otherwise.
//!
//! A stop that is lost is found by the limit on the call, `PATIENCE`. Afterwards the state must compute, yield, collect and fail as before, and no hook of ours be left.

use crate::breakpoint::Breakpoint;
use crate::stretches::{Bounds, PREPARE, SETUP, Stretch};
use crate::trap::{self, Place, Plan};
use leash::sys::{self, lua_State};
use leash::{Guest, Handle, How, Limits, Reason, Stop, Vm};
use leash_stress::lua;
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What an interrupt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Mode {
    /// A handle kills the call
    Kill,
    /// An id interrupts, and the handler goes on
    Interrupt,
}

/// A stop that takes longer is as good as lost. (The machine may be busy.)
const IN_TIME: Duration = Duration::from_secs(8);
/// The limit on each call.
const PATIENCE: Duration = Duration::from_secs(10);

static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);
// Relaxed: one thread and its signal handlers.
static ID: AtomicU64 = AtomicU64::new(0);
static ACCEPTED: AtomicBool = AtomicBool::new(false);
static ARRIVED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// For `step()`.
    static NEXT: Cell<Plan> = const { Cell::new(Plan::Nothing) };
    static BREAKPOINT: RefCell<Option<Breakpoint>> = const { RefCell::new(None) };
}

fn begin() {
    BREAKPOINT.with_borrow(|b| trap::begin(NEXT.get(), b.as_ref()));
}

/// **Signal context.** Nobody else takes the lock while a stretch runs.
fn kill() {
    if let Ok(handle) = HANDLE.try_lock()
        && let Some(handle) = &*handle
    {
        ACCEPTED.store(handle.kill(), Ordering::Relaxed);
    }
}

/// **Signal context.**
fn interrupt() {
    let accepted = leash::interrupt(ID.load(Ordering::Relaxed), How::Once);
    ACCEPTED.store(accepted, Ordering::Relaxed);
}

/// A state, by turns of one of two kinds.
pub struct State {
    l: *mut lua_State,
    vm: Option<Vm>,
    guest: Option<Guest>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The interrupt came before the end of the stretch.
    pub landed: bool,
    /// What is wrong; none: nothing.
    pub wrong: Option<String>,
}

impl State {
    /// A new state.
    ///
    /// # Panics
    /// If it cannot be attached.
    pub fn open(mode: Mode) -> State {
        let l = lua::open();
        // SAFETY: a state of our own, on this thread.
        unsafe {
            let (vm, guest) = match mode {
                Mode::Kill => {
                    let vm = Vm::attach(l).expect("attach");
                    vm.libraries_are_open();
                    *HANDLE.lock().expect("no panic") = Some(vm.handle());
                    (Some(vm), None)
                }
                Mode::Interrupt => {
                    let guest = Guest::attach(l).expect("attach");
                    guest.on_interrupt(on_interrupt);
                    ID.store(guest.id(l).expect("an id"), Ordering::Relaxed);
                    (None, Some(guest))
                }
            };
            lua::function(l, c"step", step);
            lua::function(l, c"over", over);
            lua::function(l, c"arrived", arrived);
            lua::function(l, c"limited", limited);
            lua::run(l, SETUP).expect("the setup runs");
            State { l, vm, guest }
        }
    }

    unsafe fn call(&self, limits: &Limits) -> Result<c_int, Box<Stop>> {
        // SAFETY: by the caller: a function is on the stack.
        unsafe {
            match (&self.vm, &self.guest) {
                (Some(vm), _) => vm.call(self.l, 0, 1, 0, limits),
                (None, Some(guest)) => guest.call(self.l, 0, 1, 0, limits),
                (None, None) => unreachable!("a state is of one of two kinds"),
            }
        }
    }

    /// Records the stretch.
    pub fn record(&self, stretch: &Stretch) -> Outcome {
        self.with_plan(stretch, Plan::Record, None)
    }

    /// Runs the stretch with an interrupt at `place`. `expected` is its value.
    ///
    /// # Errors
    /// If there can be no breakpoint.
    pub fn interrupted(
        &self,
        stretch: &Stretch,
        place: Place,
        expected: &str,
    ) -> io::Result<Outcome> {
        let breakpoint = Breakpoint::new(place.address, place.occurrence)?;
        BREAKPOINT.replace(Some(breakpoint));
        let action = if self.vm.is_some() { kill } else { interrupt };
        let outcome = self.with_plan(stretch, Plan::Land(action), Some(expected));
        BREAKPOINT.replace(None);
        Ok(outcome)
    }

    fn with_plan(&self, stretch: &Stretch, plan: Plan, expected: Option<&str>) -> Outcome {
        ACCEPTED.store(false, Ordering::Relaxed);
        ARRIVED.store(0, Ordering::Relaxed);
        NEXT.set(plan);
        let limits = match plan {
            Plan::Record => Limits::new(), // a hundred thousand signals take their time
            _ => Limits::new().timeout(PATIENCE),
        };
        let code = stretch.code;
        // `arrived` is true at once where nothing is to be waited for.
        let code = format!(
            "{PREPARE} local function f() {code} end local v = f()
             {} if type(v) == 'function' then v = v() end return v",
            if stretch.bounds == Bounds::Leaving {
                ""
            } else {
                "while not arrived() do end"
            }
        );
        let start = Instant::now();
        // SAFETY: a live state on this thread; the stack is as before afterwards.
        let (value, left) = unsafe {
            let top = sys::lua_gettop(self.l);
            lua::load(self.l, &code);
            if stretch.bounds == Bounds::Entering {
                begin();
            }
            let outcome = self.call(&limits);
            trap::end();
            let value = outcome.map(|status| (status, lua::pop(self.l)));
            (value, sys::lua_gettop(self.l) - top)
        };
        let took = start.elapsed();
        let mut outcome = Outcome {
            landed: trap::landed_at() != 0,
            wrong: None,
        };
        outcome.wrong = self
            .judge(stretch, outcome.landed, &value, expected)
            .or_else(|| (left != 0).then(|| format!("{left} values were left on the stack")))
            .or_else(|| {
                (took > IN_TIME && !matches!(plan, Plan::Record))
                    .then(|| format!("it took {took:?}"))
            })
            .or_else(|| self.sickness());
        outcome
    }

    fn judge(
        &self,
        stretch: &Stretch,
        landed: bool,
        value: &Result<(c_int, String), Box<Stop>>,
        expected: Option<&str>,
    ) -> Option<String> {
        let accepted = ACCEPTED.load(Ordering::Relaxed);
        let arrived = ARRIVED.load(Ordering::Relaxed);
        let must_stop = self.vm.is_some() && accepted && stretch.bounds != Bounds::Leaving;
        let may_stop = self.vm.is_some() && accepted;
        match value {
            Err(stop) if !may_stop => Some(format!("stopped: {stop}\n{}", stop.traceback)),
            Err(stop) if stop.reason != Reason::Kill => Some(format!("stopped by {stop}")),
            Err(_) => None,
            Ok(_) if must_stop => Some("killed, but it was not stopped".into()),
            Ok((0, value)) if expected.is_some_and(|e| e != value) => {
                Some(format!("its value is {value}, not {expected:?}"))
            }
            Ok((0, _)) => {
                let wanted = u32::from(self.guest.is_some() && landed);
                // At the very end of the call it arrives in the next.
                let late = stretch.bounds == Bounds::Leaving && arrived < wanted;
                (arrived != wanted && !late)
                    .then(|| format!("the handler was called {arrived} times, not {wanted}"))
            }
            Ok((status, message)) => Some(format!("status {status}: {message}")),
        }
    }

    /// The value of the stretch, without an interrupt.
    ///
    /// # Panics
    /// If it has none.
    pub fn value(&self, stretch: &Stretch) -> String {
        NEXT.set(Plan::Nothing);
        let code = format!(
            "{PREPARE} local function f() {} end local v = f() if type(v) == 'function' then v = v() end return v",
            stretch.code
        );
        // SAFETY: a live state on this thread.
        let value = unsafe { lua::run(self.l, &code) };
        trap::end();
        value.expect("a stretch has a value")
    }

    /// What is wrong with the state after a run.
    fn sickness(&self) -> Option<String> {
        // SAFETY: a live state on this thread; no call is open.
        unsafe {
            let hook = sys::lua_gethook(self.l);
            // What came at the very end waits for the state to run (a module's state stays reachable).
            if self.vm.is_some() && hook.is_some_and(leash::is_our_hook) {
                return Some("our hook has been left".into());
            }
            if hook.is_some_and(|h| !leash::is_our_hook(h)) {
                sys::lua_sethook(self.l, None, 0, 0); // the stretch's own, if it was stopped before it took it away
            }
            if self.vm.is_some() {
                ACCEPTED.store(false, Ordering::Relaxed); // a kill does not outlive its call
            }
            lua::load(self.l, HEALTH);
            let outcome = self.call(&Limits::new().timeout(PATIENCE));
            match outcome {
                Ok(status) => match (status, lua::pop(self.l)) {
                    (0, text) if text == "healthy" => None,
                    (status, text) => Some(format!("then status {status}: {text}")),
                },
                Err(stop) => Some(format!("then stopped: {stop}")),
            }
        }
    }

    /// Closes it.
    pub fn close(mut self) {
        *HANDLE.lock().expect("no panic") = None;
        // SAFETY: no call is open, and nothing of the state is used afterwards.
        unsafe {
            drop(self.vm.take());
            sys::lua_close(self.l);
        }
    }
}

const HEALTH: &str = "
    while not arrived() do end -- an interrupt at the very end of the stretch
    local co = coroutine.wrap(function(...) local a = ... while true do a = coroutine.yield(a * 2) end end)
    assert(co(1) == 2 and co(21) == 42)
    local ok, e = pcall(error, 'x', 0) assert(not ok and e == 'x')
    local n = 0
    if jit then jit.off() end -- compiled code does not count
    debug.sethook(function() n = n + 1 end, '', 10)
    for i = 1, 200 do end
    debug.sethook()
    if jit then jit.on() end
    assert(n > 10, n)
    local t = {} for i = 1, 100 do t[i] = {i} end
    collectgarbage()
    local s = 0 for i = 1, 100 do s = s + t[i][1] end assert(s == 5050)
    return 'healthy'";

// --- what Lua and the hook call ---

unsafe extern "C-unwind" fn on_interrupt(_: *mut lua_State, _: *mut lua_State) {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

/// `step()`: the stretch begins with its return.
unsafe extern "C-unwind" fn step(_: *mut lua_State) -> c_int {
    begin();
    0
}

/// `over()`: the stretch has ended.
unsafe extern "C-unwind" fn over(_: *mut lua_State) -> c_int {
    trap::end();
    0
}

/// `arrived()`: false while something is on its way: the stop, or the interrupt.
unsafe extern "C-unwind" fn arrived(l: *mut lua_State) -> c_int {
    let waits = ACCEPTED.load(Ordering::Relaxed) && ARRIVED.load(Ordering::Relaxed) == 0;
    // SAFETY: a C function called by Lua has room for a value.
    unsafe { sys::lua_pushboolean(l, (!waits).into()) };
    1
}

/// `limited(f)`: whether it succeeded, and its value or error.
unsafe extern "C-unwind" fn limited(l: *mut lua_State) -> c_int {
    let limits = Limits::new().timeout(PATIENCE * 2).memory(1 << 30);
    // SAFETY: a C function called by Lua in an attached state. The stop is dropped before anything is raised.
    unsafe {
        sys::lua_settop(l, 1);
        let Some(guest) = Guest::of(l) else {
            return 0;
        };
        let status = match guest.call(l, 0, 1, 0, &limits) {
            Ok(status) => status,
            Err(stop) => {
                drop(stop);
                guest.unwind(l);
                return 0;
            }
        };
        sys::lua_pushboolean(l, (status == 0).into());
        sys::lua_insert(l, -2);
        2
    }
}
