//! The timer thread cannot be started: an error, not a panic, and not for ever. Needs a process without a timer thread.

mod common;

use common::{ms, wait_until, watch, within};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use watchdog::{Alarm, Ticks, TimerError};

#[test]
fn a_refused_thread_is_an_error() {
    let calls = Arc::new(AtomicU32::new(0));
    let w = watch({
        let calls = calls.clone();
        move |_| {
            calls.fetch_add(1, SeqCst);
            Ticks::NEVER
        }
    });
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid place.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) }, 0);
    let set = |soft| {
        let limit = libc::rlimit {
            rlim_cur: soft,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: a valid limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    };
    let mask = || common::status(Path::new("/proc/thread-self"), "SigBlk");
    let mask_before = mask();
    // No room for another stack.
    set(1 << 20);
    let refused = Alarm::new(w.clone());
    set(limit.rlim_cur);

    let error = refused.expect_err("there was no room for a thread");
    assert!(matches!(error, TimerError::Thread(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("cannot start the timer thread: "),
        "{error}"
    );
    assert_eq!(Arc::strong_count(&w), 1);
    assert!(common::timer_threads().is_empty());
    assert_eq!(
        mask(),
        mask_before,
        "signals are blocked only while the thread is made"
    );

    let a = Alarm::new(w).expect("now there is room");
    assert_eq!(mask(), mask_before);
    a.arm(within(ms(1)));
    wait_until("the call", || calls.load(SeqCst) == 1);
}
