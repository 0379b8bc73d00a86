//! A computation with a deadline: the loop never looks at a clock.
//!
//! `cargo run -p watchdog --example deadline`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use watchdog::{Alarm, Ticks, TimerError, Watch};

/// What the alarm changes and the loop looks at.
struct Stop(AtomicBool);

impl Watch for Stop {
    fn due(&self, _now: Ticks) -> Ticks {
        self.0.store(true, Ordering::Relaxed);
        Ticks::NEVER
    }
}

fn main() -> Result<(), TimerError> {
    let stop = Arc::new(Stop(AtomicBool::new(false)));
    let alarm = Alarm::new(stop.clone())?;
    for limit in [1, 10, 100] {
        stop.0.store(false, Ordering::Relaxed);
        let start = Ticks::now();
        alarm.arm(start.after(Duration::from_millis(limit)));
        let mut steps = 0u64;
        while !stop.0.load(Ordering::Relaxed) {
            steps += 1;
        }
        println!(
            "{limit:3} ms: {steps:>12} steps in {:?}",
            Ticks::now().since(start)
        );
    }
    Ok(())
}
