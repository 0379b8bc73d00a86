//! A thread of a real-time policy gives its processor to nobody below it: the timer thread that it starts is above it. A process of its own, for it has one timer thread.

#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;
use std::thread;
use watchdog::{Alarm, Ticks, Watch};

struct Nothing;

impl Watch for Nothing {
    fn due(&self, _: Ticks) -> Ticks {
        Ticks::NEVER
    }
}

/// The policy and the priority of a thread, as proc(5) tells them.
fn policy_of(thread: &std::path::Path) -> (i32, i32) {
    let stat = common::read(thread, "stat");
    // The name, in parentheses, may contain anything.
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name")..]
        .split(' ')
        .collect();
    let number = |field: usize| fields[field - 2].parse().expect("a number");
    (number(41), number(40))
}

#[test]
fn the_timer_is_above_a_real_time_thread_that_starts_it() {
    const PRIORITY: i32 = 5;
    let started = thread::spawn(|| {
        let param = libc::sched_param {
            sched_priority: PRIORITY,
        };
        // SAFETY: of this thread.
        let code = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &param) };
        if code != 0 {
            return false;
        }
        let alarm = Alarm::new(Arc::new(Nothing)).expect("a timer thread");
        alarm.arm(Ticks::now());
        true
    });
    if !started.join().unwrap() {
        println!("this user may not have real-time threads");
        return;
    }
    common::wait_until("a timer thread", || common::timer_threads().len() == 1);
    assert_eq!(
        policy_of(&common::timer_thread()),
        (libc::SCHED_RR, PRIORITY + 1)
    );
}
