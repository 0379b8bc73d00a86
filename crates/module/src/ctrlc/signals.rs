//! SIGINT: who blocks it, and what the process does on it.

use std::mem::MaybeUninit;
use std::ptr;

/// What the process does on SIGINT, if it is not blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It ends.
    End,
    /// Nothing.
    Ignore,
    /// It calls a handler.
    Handler,
}

/// What it does now.
pub fn action() -> Action {
    // SAFETY: asks, and changes nothing; the structure is filled by the call (which cannot fail for a valid signal).
    let handler = unsafe {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(libc::SIGINT, ptr::null(), now.as_mut_ptr());
        now.assume_init().sa_sigaction
    };
    match handler {
        libc::SIG_DFL => Action::End,
        libc::SIG_IGN => Action::Ignore,
        _ => Action::Handler,
    }
}

/// From now on it ends the process.
pub fn end_on_it() {
    // SAFETY: all zeros are a valid action, the default one.
    unsafe {
        let end = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        libc::sigaction(libc::SIGINT, &end, ptr::null_mut());
    }
}

/// SIGINT alone.
pub fn only_sigint() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by the first call.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        set.assume_init()
    }
}

/// Blocks SIGINT in the calling thread, or lets it through: what waits arrives before this returns. Returns whether it was blocked.
/// Async-signal-safe.
pub fn block(yes: bool) -> bool {
    let how = if yes {
        libc::SIG_BLOCK
    } else {
        libc::SIG_UNBLOCK
    };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are valid.
    unsafe {
        libc::pthread_sigmask(how, &only_sigint(), before.as_mut_ptr());
        libc::sigismember(before.as_ptr(), libc::SIGINT) == 1
    }
}

/// Blocks every signal in the calling thread but those that mean a fault; returns what was blocked before.
pub fn block_all() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is initialised by the first call; `before` is filled by the last.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
        ] {
            libc::sigdelset(set.as_mut_ptr(), fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

/// Blocks these, and no others.
pub fn restore(set: &libc::sigset_t) {
    // SAFETY: a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, ptr::null_mut()) };
}

/// Waits for SIGINT, which every thread but this one has to block.
pub fn wait() {
    let (set, mut signal) = (only_sigint(), 0);
    // SAFETY: valid for reading and writing. It fails for invalid sets only.
    unsafe { libc::sigwait(&set, &mut signal) };
}
