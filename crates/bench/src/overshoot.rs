//! How late a call with a timeout gives control back: endless code under a timeout of 5 ms, again and again.

use crate::lua;
use crate::process::report;
use leash::{Limits, Reason, Vm};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(5);

/// Measures in a state of its own; in microseconds.
pub fn run(compiled: bool, calls: usize) {
    let l = lua::new_state();
    // SAFETY: a live state on this thread; the `Vm` is consumed by `close`.
    let vm = unsafe { Vm::attach(l) }.expect("it can be attached");
    lua::require_guards(vm.jit());
    // SAFETY: on this thread.
    unsafe { vm.libraries_are_open() };
    if !compiled {
        lua::interpret_only(l);
    }
    let limits = Limits::new().timeout(TIMEOUT);
    let late = (0..calls).map(|_| {
        lua::load(l, lua::ENDLESS);
        let start = Instant::now();
        // SAFETY: a function without arguments is on the stack.
        let outcome = unsafe { vm.call(l, 0, 0, 0, &limits) };
        let took = start.elapsed();
        let stop = outcome.expect_err("endless code was stopped");
        assert_eq!(stop.reason, Reason::Timeout);
        // It never comes early.
        took.checked_sub(TIMEOUT).expect("not early").as_secs_f64() * 1e6
    });
    report("overshoot", late.collect());
    lua::check_compiled(l, compiled);
    // SAFETY: no call is open.
    unsafe { vm.close(&Limits::new()) };
}
