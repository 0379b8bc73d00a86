//! The timer thread gets short turns of the processor, so that it is let in early on a busy machine.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::sync::Arc;
use watchdog::{Alarm, Ticks, Watch};

struct Nothing;

impl Watch for Nothing {
    fn due(&self, _: Ticks) -> Ticks {
        Ticks::NEVER
    }
}

/// How long the turns of a thread are, in nanoseconds; 0 where the kernel is too old to say (before 6.12).
fn turn(thread: libc::pid_t) -> u64 {
    let mut attributes = [0u64; 6];
    let size = size_of_val(&attributes);
    // SAFETY: the kernel writes no more than `size` bytes.
    let code = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            thread,
            &raw mut attributes,
            size,
            0,
        )
    };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    attributes[3] // `sched_runtime`
}

#[test]
fn the_timer_thread_has_short_turns() {
    let alarm = Alarm::new(Arc::new(Nothing)).expect("a timer thread");
    alarm.arm(Ticks::now()); // when it has been called, the thread has begun
    let begun = || {
        let threads = fs::read_dir("/proc/self/task").expect("Linux tells of threads");
        threads.flatten().find_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            let id = thread.file_name().to_str()?.parse::<libc::pid_t>().ok()?;
            (name.trim() == "leash-timer").then_some(id)
        })
    };
    common::wait_until("a timer thread", || begun().is_some());
    let timer = begun().expect("it does not end");
    let usual = turn(0);
    if usual == 0 {
        println!("this kernel does not tell how long turns are");
        return;
    }
    // It names itself before it asks for them.
    common::wait_until("short turns", || turn(timer) != usual);
    assert_eq!(turn(timer), 100_000, "usual: {usual}");
}
