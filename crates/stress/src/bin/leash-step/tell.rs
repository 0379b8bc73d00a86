//! What was being done when the process dies or hangs: told by the signal handler of its end.

use crate::trap;
use std::ffi::c_int;
use std::mem;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A run that takes longer hangs. (The recording of a collection takes seconds, on a busy machine a minute.)
const PATIENCE: u32 = 300;

static WHAT: Mutex<String> = Mutex::new(String::new());
static WHERE: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// Has the end of the process told.
pub fn install() {
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGABRT,
        libc::SIGALRM,
    ] {
        // SAFETY: plain data; the handler does not return. It runs on a stack of its own if Rust's runtime has given the thread one.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = last_words as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// What is being done from now on, as options that repeat it.
pub fn doing(what: &str) {
    if let Ok(mut text) = WHAT.lock() {
        what.clone_into(&mut text);
    }
    doing_at(0, 0);
}

/// Before which instruction.
pub fn doing_at(n: usize, address: usize) {
    WHERE.store(n, Ordering::Relaxed);
    ADDRESS.store(address, Ordering::Relaxed);
    // SAFETY: no preconditions.
    unsafe { libc::alarm(PATIENCE) };
}

/// **Signal context**, of a process that ends: it allocates all the same, as nothing is left to lose.
unsafe extern "C" fn last_words(signal: c_int) {
    let what = WHAT.try_lock().map_or(String::new(), |text| text.clone());
    let how = if signal == libc::SIGALRM {
        "HANGS".into()
    } else {
        format!("DIED of signal {signal}")
    };
    println!(
        "{how}: {what} --at {} ({})",
        WHERE.load(Ordering::Relaxed),
        trap::show(ADDRESS.load(Ordering::Relaxed))
    );
    // SAFETY: the default action of a signal that ends the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::_exit(128 + signal);
    }
}
