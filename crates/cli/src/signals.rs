//! Ctrl-C and SIGTERM.
//!
//! A thread of its own takes them: the first asks the engine for an orderly stop, with a traceback, open files flushed and
//! finalizers run; the second ends the process at once. If the first is not answered in time, [`crate::stuck`] ends the
//! process too. While no Lua runs, before and after, there is nothing to stop in order, and the first is enough.
//!
//! A signal that the parent process has set to be ignored stays ignored: that is how a shell keeps Ctrl-C from the jobs in
//! its background, and `nohup` protects its child.
//!
//! Considered and dropped: `lua.c`'s way, setting a hook in the signal handler. The engine does just that, but knows about
//! coroutines, compiled code and system calls as well.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{exit, stdio};
use leash::Handle;

/// The first signal that came, or 0.
static FIRST: AtomicI32 = AtomicI32::new(0);

/// Takes SIGINT and SIGTERM from now on, for the state behind `handle`.
///
/// # Errors
/// If the system has no handler or no thread for it.
pub fn take(handle: Handle) -> io::Result<()> {
    let wanted: Vec<c_int> = [SIGINT, SIGTERM]
        .into_iter()
        .filter(|&signal| !is_ignored(signal))
        .collect();
    let mut signals = Signals::new(wanted)?;
    thread::Builder::new()
        .name("leash-signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                // Relaxed: the number is all there is to share.
                if FIRST
                    .compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
                {
                    stdio::end_process(exit::SIGNAL + signal);
                }
                if !handle.interrupt() {
                    stdio::flush_within(stdio::A_MOMENT);
                    stdio::message_unbuffered(word());
                    stdio::end_process(code());
                }
            }
        })?;
    Ok(())
}

/// Whether a signal has come.
pub fn pending() -> bool {
    FIRST.load(Ordering::Relaxed) != 0
}

/// The exit code of a run that was interrupted.
pub fn code() -> c_int {
    match FIRST.load(Ordering::Relaxed) {
        0 => exit::SIGNAL + SIGINT,
        signal => exit::SIGNAL + signal,
    }
}

/// What to call the interruption: by the terminal or by another process.
pub fn word() -> &'static str {
    if FIRST.load(Ordering::Relaxed) == SIGTERM {
        "terminated"
    } else {
        "interrupted"
    }
}

fn is_ignored(signal: c_int) -> bool {
    // SAFETY: asks for the present action and changes nothing; all zeros are a valid `sigaction`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
