//! Many states in one process, each in the middle of a call with an armed deadline: what the timer thread has to do for them.
//!
//! The calls are inside each other: the code of each state calls a C function that calls into the next state, and loops for ever afterwards.
//! In the last one the thread sleeps: so all deadlines are armed, and none is due. When they come, at the same time, each state has to be
//! stopped by itself, the last one first.
//!
//! On LuaJIT code is compiled in each state, where the loop is.

use crate::lua;
use crate::process::timer_cpu;
use leash::sys::{self, lua_State};
use leash::{Limits, Reason, Vm};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::thread;
use std::time::{Duration, Instant};

/// Of the thread that opens the calls: two kilobytes for each were seen to be enough.
const STACK: usize = 2 << 30;

thread_local! {
    /// Each state, with the function to call on its stack.
    static STATES: RefCell<Vec<(*mut lua_State, Vm)>> = const { RefCell::new(Vec::new()) };
    static DUE: Cell<Option<Instant>> = const { Cell::new(None) };
    static IDLE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static STOPPED: Cell<usize> = const { Cell::new(0) };
}

/// Measures. `seconds` is how long nothing is due.
pub fn run(states: usize, seconds: usize) {
    let work = move || on_this_thread(states, Duration::from_secs(seconds as u64));
    let thread = thread::Builder::new().stack_size(STACK).spawn(work);
    let done = thread.expect("a thread with a large stack").join();
    done.expect("it does not panic");
}

fn on_this_thread(states: usize, idle: Duration) {
    for _ in 0..states {
        let l = lua::new_state();
        // SAFETY: a live state on this thread, which ends with the process.
        unsafe {
            let vm = Vm::attach(l).expect("it can be attached");
            lua::require_guards(vm.jit());
            vm.libraries_are_open();
            lua::load(l, "local descend = ... descend() while true do end");
            sys::lua_pushcfunction(l, descend);
            STATES.with_borrow_mut(|all| all.push((l, vm)));
        }
    }
    // Opening the calls takes a part of this.
    let start = Instant::now();
    let due = start + idle + Duration::from_micros(100) * states as u32;
    DUE.set(Some(due));
    IDLE.set(idle);
    let before = timer_cpu();
    open(0);
    let late = due.elapsed();
    assert_eq!(STOPPED.get(), states, "each call was stopped");
    println!("all_stopped_ms {:.3}", late.as_secs_f64() * 1e3);
    println!("timer_total_ms {:.3}", milliseconds(timer_cpu() - before));
    // The states are not closed: their memory goes with the process.
    STATES.with_borrow_mut(|all| all.drain(..).for_each(std::mem::forget));
}

/// Calls into this state.
fn open(index: usize) {
    let found = STATES.with_borrow(|all| {
        let (l, vm) = all.get(index)?;
        // The vector does not change any more, and what is in it stays in place.
        Some((*l, std::ptr::from_ref(vm)))
    });
    let Some((l, vm)) = found else { return wait() };
    let due = DUE.get().expect("it is set");
    let limits = Limits::new().timeout(due.saturating_duration_since(Instant::now()));
    // SAFETY: as just said; the function and its argument are on the stack.
    let outcome = unsafe { (*vm).call(l, 1, 0, 0, &limits) };
    match outcome {
        Err(stop) if stop.reason == Reason::Timeout => STOPPED.set(STOPPED.get() + 1),
        other => panic!("the call in state {index} ended with {other:?}"),
    }
}

thread_local! {
    /// How deep the calls are.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "C-unwind" fn descend(_: *mut lua_State) -> c_int {
    let depth = DEPTH.get() + 1;
    DEPTH.set(depth);
    open(depth); // no error of this state's passes here: its hook runs in its own code alone
    0
}

/// All calls are open.
fn wait() {
    let due = DUE.get().expect("it is set");
    let left = due.saturating_duration_since(Instant::now());
    // The end of the sleep is a little before the deadlines, so that their work is not part of it.
    let time = left.saturating_sub(Duration::from_millis(50));
    let enough = time >= IDLE.get() / 2;
    assert!(enough, "opening the calls took too long: {left:?} are left");
    let before = timer_cpu();
    thread::sleep(time);
    println!("idle_seconds {:.3}", time.as_secs_f64());
    println!("timer_idle_ms {:.3}", milliseconds(timer_cpu() - before));
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
