//! The seam to the operating system: everything that macOS or Windows would do otherwise.
//!
//! A port is one file next to `linux.rs` that has these functions:
//!
//! | function | promise |
//! |---|---|
//! | `now` | nanoseconds of a monotonic clock; async-signal-safe |
//! | `recent` | the same clock, perhaps some milliseconds behind, if that is faster; else `now` |
//! | `clock_is_tsc` | whether `now` is computed from the time-stamp counter of x86 processors; keeps errno |
//! | `wait(word, expected, until)` | sleeps while `word` is `expected`, at most until then; may return early |
//! | `wake(word)` | wakes the thread that sleeps on `word`; async-signal-safe, keeps errno |
//! | `spawn_timer(run)` | a detached thread that never runs the host's asynchronous signal handlers; takes no lock of Rust's |
//! | `thread_id` | of the calling thread; async-signal-safe, touches no thread-local |
//! | `unblock_signal` | the calling thread can be poked from now on |
//! | `send_signal(id)` | pokes; false when there is no such thread in this process; async-signal-safe, keeps errno |
//! | `on_signal(f)` | has `f` called on the poked thread, after handlers that were there before; keeps errno |
//! | `set_restart(on)` | whether system calls that a poke interrupts are restarted (as they are from `on_signal` on) or fail with `EINTR`; true if that is a change; async-signal-safe, keeps errno |
//! | `thread_clock`, `read_thread_clock` | CPU time of one thread, read from any |
//! | `at_fork(before, in_child)` | registers; nothing to do where there is no fork |
//!
//! On macOS these are `os_sync_wait_on_address` (or `__ulock_wait`), `pthread_kill`, `thread_info`; on Windows
//! `WaitOnAddress`, `SuspendThread` with a changed context instead of a signal, `GetThreadTimes`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
compile_error!("watchdog has no port to this system yet: see crates/watchdog/src/os/mod.rs");
