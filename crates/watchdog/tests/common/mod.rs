//! What the tests share: waiting without tight limits, a watch made of a closure, children, facts about threads.
#![allow(dead_code)]

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use watchdog::{Alarm, Ticks, Watch};

/// A generous limit for things that come at once unless they are broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// That long from now.
pub fn within(d: Duration) -> Ticks {
    Ticks::now().after(d)
}

pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

struct Act<F>(F);

impl<F: Fn(Ticks) -> Ticks + Send + Sync> Watch for Act<F> {
    fn due(&self, now: Ticks) -> Ticks {
        (self.0)(now)
    }
}

pub fn watch(act: impl Fn(Ticks) -> Ticks + Send + Sync + 'static) -> Arc<dyn Watch> {
    Arc::new(Act(act))
}

pub fn alarm(act: impl Fn(Ticks) -> Ticks + Send + Sync + 'static) -> Alarm {
    Alarm::new(watch(act)).expect("an alarm")
}

/// An alarm that counts its calls, and is not armed again by them.
pub fn counting() -> (Alarm, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let a = alarm({
        let calls = calls.clone();
        move |_| {
            calls.fetch_add(1, SeqCst);
            Ticks::NEVER
        }
    });
    (a, calls)
}

/// Runs `f` in a child of fork() and returns its wait status: 0 if all went well, a signal if it had to be ended.
pub fn child_status(f: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `f` and ends by `_exit`; `f` keeps away from locks of other threads.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: plain system calls. SIGALRM ends a child that hangs.
        unsafe {
            libc::alarm(20);
            let code = match catch_unwind(AssertUnwindSafe(f)) {
                Ok(()) => 0,
                Err(payload) => {
                    // The harness keeps what is printed in the memory of this process, where it is lost.
                    let text = payload
                        .downcast_ref::<String>()
                        .map_or("a panic in the child", |s| s);
                    libc::write(2, text.as_ptr().cast(), text.len());
                    1
                }
            };
            libc::_exit(code);
        }
    }
    wait_for(pid)
}

pub fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: `status` is valid for writing.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid, "waitpid: {}", io::Error::last_os_error());
    status
}

/// Runs `f` in a child; panics unless it ends well.
pub fn in_child(f: impl FnOnce()) {
    let status = child_status(f);
    assert_eq!(status, 0, "wait status of the child: {status:#x}");
}

/// The folder of the timer thread in /proc, once it has its name.
pub fn timer_thread() -> PathBuf {
    let mut found = None;
    wait_until("the timer thread", || {
        found = timer_threads().pop();
        found.is_some()
    });
    found.unwrap()
}

pub fn timer_threads() -> Vec<PathBuf> {
    threads()
        .into_iter()
        .filter(|t| read(t, "comm").trim() == "leash-timer")
        .collect()
}

pub fn threads() -> Vec<PathBuf> {
    fs::read_dir("/proc/self/task")
        .expect("/proc")
        .map(|e| e.expect("/proc").path())
        .collect()
}

/// A file of a thread; empty if the thread has ended.
pub fn read(thread: &std::path::Path, file: &str) -> String {
    fs::read_to_string(thread.join(file)).unwrap_or_default()
}

/// A field of a thread's status.
pub fn status(thread: &std::path::Path, field: &str) -> String {
    read(thread, "status")
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {field}"))
        .trim()
        .to_owned()
}
