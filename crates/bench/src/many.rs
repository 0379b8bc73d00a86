//! Many attached states in one process: their memory, the time to attach one more, and to reach one of them.

use crate::process::{own_memory, report};
use crate::{latency, lua};
use leash::Guest;
use std::time::Instant;

/// Bytes of the process for each state, attached or not.
pub fn memory(attached: bool, states: usize) {
    let make = || {
        let l = lua::new_state();
        if attached {
            // SAFETY: a live state on this thread, which ends with the process.
            let guest = unsafe { Guest::attach(l) }.expect("it can be attached");
            lua::require_guards(guest.jit());
        }
    };
    // The first ones make what is made once.
    (0..100).for_each(|_| make());
    let before = own_memory();
    (0..states).for_each(|_| make());
    println!("memory {:.0}", (own_memory() - before) / states as f64);
}

/// Attaches so many states, all idle but the last. How long the last hundred took each, in microseconds, and the latency to the one.
pub fn attach(states: usize) {
    const SAMPLES: usize = 2000;
    let mut took = Vec::new();
    let mut last = None;
    for n in 0..states {
        let l = lua::new_state();
        let start = Instant::now();
        // SAFETY: a live state on this thread, which ends with the process.
        let guest = unsafe { Guest::attach(l) }.expect("it can be attached");
        lua::require_guards(guest.jit());
        if n + 100 >= states {
            took.push(start.elapsed().as_secs_f64() * 1e6);
        }
        last = Some((l, guest));
    }
    report("attach", took);
    let (l, guest) = last.expect("one at least");
    report("latency", latency::measure(l, guest, SAMPLES));
}
