//! What arming and disarming the watchdog costs, in nanoseconds of CPU time of the process, the timer thread's included; and how long
//! arming takes when the timer thread has to be woken.

use crate::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use watchdog::{Alarm, Ticks, Watch};

struct Nothing;

impl Watch for Nothing {
    fn due(&self, _: Ticks) -> Ticks {
        Ticks::NEVER
    }
}

const TURNS: usize = 15;

/// Measures each, a number of turns, and writes the values of all turns.
pub fn run() {
    let alarm = Alarm::new(Arc::new(Nothing)).expect("the timer thread starts");
    let hour = Ticks::now().after(Duration::from_secs(3600));
    print_turns("arm_and_disarm", 1_000_000, |_| {
        alarm.arm(hour);
        alarm.disarm();
    });
    print_turns("move_later", 1_000_000, |n| {
        alarm.arm(Ticks::from_nanos(hour.as_nanos() + n));
    });
    print_turns("now", 1_000_000, |_| {
        std::hint::black_box(Ticks::now());
    });
    wake(&alarm);
}

/// Each deadline is earlier than the one that the timer thread sleeps for, so each wakes it up. It needs time to fall asleep again, so here the clock
/// is read around each call.
fn wake(alarm: &Alarm) {
    let soon = Ticks::now().after(Duration::from_secs(1800));
    let nanos: Vec<String> = (1..=500)
        .map(|n| {
            thread::sleep(Duration::from_micros(200));
            let start = Ticks::now();
            alarm.arm(Ticks::from_nanos(soon.as_nanos() - n * 1_000_000));
            format!("{}", Ticks::now().since(start).as_nanos())
        })
        .collect();
    println!("wake_timer {}", nanos.join(" "));
}

fn print_turns(name: &str, times: u64, mut f: impl FnMut(u64)) {
    let nanos: Vec<String> = (0..TURNS)
        .map(|_| {
            let start = process::cpu();
            for n in 0..times {
                f(n);
            }
            let took = process::cpu() - start;
            format!("{:.2}", took.as_nanos() as f64 / times as f64)
        })
        .collect();
    println!("{name} {}", nanos.join(" "));
}
