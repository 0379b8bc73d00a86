//! From a request to the hook: another thread interrupts a state that runs an endless loop, and the handler notes the time.
//!
//! The thread that asks waits for the answer and then a little longer, each time another little, so that the state is back in its
//! loop, in compiled code if there is any. It waits by looking again and again, so that what is measured is the way
//! to the other thread and not how long the system takes to wake this one up.

use crate::lua;
use crate::process::report;
use leash::sys::{self, lua_State};
use leash::{Guest, How};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use watchdog::Ticks;

/// When the handler was called last, and how often it has been.
static CALLED_AT: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
static ENOUGH: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" fn on_interrupt(l: *mut lua_State, _: *mut lua_State) {
    CALLED_AT.store(Ticks::now().as_nanos(), Ordering::Relaxed);
    // Release: who sees the new count sees the time that belongs to it.
    CALLS.fetch_add(1, Ordering::Release);
    if ENOUGH.load(Ordering::Relaxed) {
        // SAFETY: in a hook, which may raise; nothing here owns anything.
        unsafe {
            sys::lua_pushstring(l, c"enough".as_ptr());
            sys::lua_error(l);
        }
    }
}

/// Measures in a state of its own.
pub fn run(compiled: bool, samples: usize) {
    let l = lua::new_state();
    // SAFETY: a live state on this thread, which ends with the process.
    let guest = unsafe { Guest::attach(l) }.expect("it can be attached");
    lua::require_guards(guest.jit());
    if !compiled {
        lua::interpret_only(l);
    }
    let latencies = measure(l, guest, samples);
    lua::check_compiled(l, compiled);
    report("latency", latencies);
}

/// In microseconds.
pub fn measure(l: *mut lua_State, guest: Guest, samples: usize) -> Vec<f64> {
    guest.on_interrupt(on_interrupt);
    // SAFETY: the main state of `guest`.
    let id = unsafe { guest.id(guest.main()) }.expect("the main state has an id");
    ENOUGH.store(false, Ordering::Relaxed);
    let asker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20)); // the loop has begun, and is compiled
        let latencies = (0..samples).map(|n| ask(id, n)).collect();
        ENOUGH.store(true, Ordering::Relaxed);
        ask(id, 0);
        latencies
    });
    let ended = lua::run(l, lua::ENDLESS);
    assert_eq!(ended, Err("enough".to_owned()), "the loop is endless");
    asker.join().expect("the asking thread does not panic")
}

fn ask(id: u64, n: usize) -> f64 {
    let pause = Duration::from_micros(30 + (n as u64 * 7919) % 100);
    let begin = Ticks::now();
    while Ticks::now().since(begin) < pause {
        std::hint::spin_loop();
    }
    let before = CALLS.load(Ordering::Acquire);
    let asked = Ticks::now();
    assert!(leash::interrupt(id, How::Once), "the state is there");
    while CALLS.load(Ordering::Acquire) == before {
        std::hint::spin_loop();
        let waited = Ticks::now().since(asked);
        assert!(waited < Duration::from_secs(20), "it was never answered");
    }
    let called = CALLED_AT.load(Ordering::Relaxed);
    called.saturating_sub(asked.as_nanos()) as f64 / 1e3
}
