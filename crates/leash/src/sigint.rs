//! Ctrl-C ends a call that asks for it.
//!
//! While such a call is open, SIGINT is ours: the handler counts it and asks the states that have such calls. A call that was begun when the count was lower has to end;
//! which of several, is decided as for any limit. When the last one is over, the handler that was there before is back.
//!
//! **A call asks for it in its record first, and then has the handler installed.** A Ctrl-C that comes earlier is of the time before the call. The other way
//! round there was a moment in which the handler found nobody who wanted it, and gave the signal back for good, although the call was still to come.
//!
//! A second Ctrl-C while the first one is unanswered does what it would have done without us. A process that ignores Ctrl-C goes on ignoring it.

use crate::record::{RECORDS, Record};
use crate::request::CHECK;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How often SIGINT has arrived.
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// How many calls are open that want it.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Guards `BEFORE`, and the action of the process. A flag and not a `Mutex`, for the child of a fork must be able to open it.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The handler is installed.
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// What was there before.
static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::zeroed()));

struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

// SAFETY: written under `BUSY` before the handler is installed, and read by whoever has taken it out of `INSTALLED`.
unsafe impl Sync for Before {}

/// How often it has arrived so far.
pub fn count() -> u64 {
    ARRIVED.load(Ordering::Relaxed) // a count; what it means is asked for by `CHECK`
}

/// Whether a call is open that Ctrl-C ends.
pub fn is_wanted() -> bool {
    OPEN.load(Ordering::Relaxed) != 0
}

/// In the child of a fork.
pub fn after_fork() {
    BUSY.store(false, Ordering::Relaxed); // one thread
}

fn locked(f: impl FnOnce()) {
    // Acquire and Release: what one holder of the lock did is seen by the next.
    while BUSY
        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        std::thread::yield_now();
    }
    f();
    BUSY.store(false, Ordering::Release);
}

/// A call that wants it has begun: its record says so.
pub fn open(record: &Record) {
    debug_assert!(record.sigint.load(Ordering::Relaxed), "see the header");
    if OPEN.fetch_add(1, Ordering::Relaxed) == 0 {
        locked(install);
    }
}

/// It is over.
pub fn close() {
    if OPEN.fetch_sub(1, Ordering::Relaxed) == 1 {
        locked(|| {
            if OPEN.load(Ordering::Relaxed) == 0 {
                give_back();
            }
        });
    }
}

fn action() -> libc::sigaction {
    // SAFETY: the structure is filled by the call.
    unsafe {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(libc::SIGINT, ptr::null(), now.as_mut_ptr());
        now.assume_init()
    }
}

fn address() -> usize {
    let handler: extern "C" fn(c_int) = on_sigint;
    handler as usize
}

/// The lock is held.
fn install() {
    let now = action();
    if now.sa_sigaction == libc::SIG_IGN || INSTALLED.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: nobody reads it while `INSTALLED` is false. The action is a valid one.
    unsafe {
        BEFORE.0.get().write(MaybeUninit::new(now));
        INSTALLED.store(true, Ordering::Release);
        let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
        ours.sa_sigaction = address();
        ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGINT, &ours, ptr::null_mut());
    }
}

/// Async-signal-safe. If somebody else has installed a handler meanwhile, his stays.
fn give_back() {
    if INSTALLED.swap(false, Ordering::AcqRel) && action().sa_sigaction == address() {
        // SAFETY: written before `INSTALLED` was set, and not again before it is false.
        unsafe { libc::sigaction(libc::SIGINT, BEFORE.0.get().cast(), ptr::null_mut()) };
    }
}

/// **Signal context**, on any thread.
#[inline(never)] // compared by address: it must have one
extern "C" fn on_sigint(_: c_int) {
    let mut unanswered = false;
    let mut asked = false;
    // First the count, then the request: who answers it sees the count.
    ARRIVED.fetch_add(1, Ordering::SeqCst);
    RECORDS.for_each_used(|r| {
        if r.sigint.load(Ordering::Relaxed) {
            unanswered |= r.request.flags() & CHECK != 0;
            asked |= r.ask(r.request.generation(), CHECK);
        }
    });
    if unanswered || !asked {
        give_back();
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGINT) };
    }
}
