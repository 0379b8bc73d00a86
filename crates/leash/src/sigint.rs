//! Ctrl-C ends a call that asks for it.
//!
//! While such a call is open, SIGINT is ours: the handler counts it and asks the states that have such calls. A call that was begun when the count was lower has to end;
//! which of several, is decided as for any limit. When the last one is over, the handler that was there before is back.
//!
//! **A call asks for it in its record first, and then has the handler installed.** A Ctrl-C that comes earlier is of the time before the call. The other way
//! round there was a moment in which the handler found nobody who wanted it, and gave the signal back for good, although the call was still to come.
//!
//! **None is lost, and none counts twice.** The handler first looks whether any call wants it, and counts then: so whoever was seen to want it has begun before. One that
//! no call has heard of when the last one ends is raised again, after SIGINT has been given back. Whether that is for the handler or for the call to do is decided by one
//! word ([`take`]).
//!
//! **None is passed on for ever.** The handler raises only what will not come back to it: after it has given back the action itself, or when somebody else has. Otherwise a handler of the host, installed while a call was
//! open, has called ours, as handlers do that call what was there before them: raised again, it would come round for ever.
//!
//! A second Ctrl-C while the first one is unanswered does what it would have done without us. A process that ignores Ctrl-C goes on ignoring it.

use crate::record::{RECORDS, Record};
use crate::request::CHECK;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

/// How often SIGINT has arrived while a call wanted it.
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// The last one that has ended a call, or was raised again.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// How many calls are open that want it.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Guards `EARLIER`, and the action of the process. A flag and not a `Mutex`, for the child of a fork must be able to open it.
static BUSY: AtomicBool = AtomicBool::new(false);
/// What was there before.
static EARLIER: AtomicPtr<Earlier> = AtomicPtr::new(ptr::null_mut());
/// All that ever was there before: they stay, for a handler may be reading one, and what comes again is found again.
static ALL: AtomicPtr<Earlier> = AtomicPtr::new(ptr::null_mut());
/// Somebody has put a handler in the place of ours, which may call ours.
static REPLACED: AtomicBool = AtomicBool::new(false);

struct Earlier {
    action: libc::sigaction,
    next: *mut Earlier,
}

/// How often it has arrived so far.
pub fn count() -> u64 {
    ARRIVED.load(Ordering::Relaxed) // a count; what it means is asked for by `CHECK`
}

/// Whether a call that was begun when the count was `since` has to end for it: something has arrived since, and nobody has raised it again.
pub fn ends(since: u64) -> bool {
    since != count() && take(count())
}

/// Takes the one of that number. False if somebody has.
fn take(number: u64) -> bool {
    TAKEN.fetch_max(number, Ordering::Relaxed) < number // one word decides
}

/// Whether a call is open that Ctrl-C ends.
pub fn is_wanted() -> bool {
    OPEN.load(Ordering::Relaxed) != 0
}

/// In the child of a fork, in which so many calls are open.
pub fn after_fork(open: usize) {
    BUSY.store(false, Ordering::Relaxed); // one thread
    if OPEN.swap(open, Ordering::Relaxed) != 0 && open == 0 {
        give_back();
    }
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
    debug_assert_ne!(
        record.sigint.load(Ordering::Relaxed),
        u64::MAX,
        "see the header"
    );
    if OPEN.fetch_add(1, Ordering::Relaxed) == 0 {
        locked(install);
    }
}

/// It is over. It began when the count was `since`; `told`: something has stopped it, and so it needs to hear of nothing else.
pub fn close(since: u64, told: bool) {
    let last = OPEN.fetch_sub(1, Ordering::Relaxed) == 1;
    if last {
        locked(|| {
            if OPEN.load(Ordering::Relaxed) == 0 {
                give_back();
            }
        });
    }
    fence(Ordering::SeqCst); // `ask`
    if told || since == count() {
        return;
    }
    if !last {
        ask(count());
    } else if take(count()) {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGINT) };
    }
}

/// Whether any call wants it.
fn has_takers() -> bool {
    let mut any = false;
    // Acquire: with the Release of `State::publish`, which comes after the call has read the count.
    RECORDS.for_each_used(|r| any |= r.sigint.load(Ordering::Acquire) != u64::MAX);
    any
}

/// Tells those who want the one of that number: not whose calls have all begun since. Whether any was told, and whether any has not answered the one before.
fn ask(number: u64) -> (bool, bool) {
    let (mut asked, mut unanswered) = (false, false);
    // Whoever is not seen to have ended a call sees the count when he does (`close`).
    fence(Ordering::SeqCst);
    RECORDS.for_each_used(|r| {
        if r.sigint.load(Ordering::Relaxed) < number {
            unanswered |= r.request.flags() & CHECK != 0;
            asked |= r.ask(r.request.generation(), CHECK);
        }
    });
    (asked, unanswered)
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
    if now.sa_sigaction == libc::SIG_IGN || now.sa_sigaction == address() {
        return;
    }
    remember(now);
    // SAFETY: the action is a valid one.
    unsafe {
        let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
        ours.sa_sigaction = address();
        ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGINT, &ours, ptr::null_mut());
    }
}

/// Makes this what was there before. The lock is held.
fn remember(action: libc::sigaction) {
    let first = ALL.load(Ordering::Relaxed);
    let mut known = first;
    // SAFETY: they stay.
    while let Some(e) = unsafe { known.as_ref() } {
        if is_same(&e.action, &action) {
            break;
        }
        known = e.next;
    }
    if known.is_null() {
        let new = Earlier {
            action,
            next: first,
        };
        known = Box::into_raw(Box::new(new));
        ALL.store(known, Ordering::Relaxed);
    }
    // Release: who finds it reads all of it.
    EARLIER.store(known, Ordering::Release);
}

/// Whether two actions are the same, but for the signals that they block.
fn is_same(a: &libc::sigaction, b: &libc::sigaction) -> bool {
    a.sa_sigaction == b.sa_sigaction && a.sa_flags == b.sa_flags
}

/// False if the action was not ours any more: somebody else's stays. **Signal context.**
fn give_back() -> bool {
    let now = action().sa_sigaction;
    // SAFETY: they stay.
    let Some(earlier) = (unsafe { EARLIER.load(Ordering::Acquire).as_ref() }) else {
        return false; // never installed
    };
    if now != address() {
        if now != earlier.action.sa_sigaction {
            REPLACED.store(true, Ordering::Relaxed); // only ever set; what it is about is the action, which the system orders
        }
        return false;
    }
    // SAFETY: an action that the system has given us.
    unsafe { libc::sigaction(libc::SIGINT, &earlier.action, ptr::null_mut()) };
    true
}

/// **Signal context**, on any thread.
#[inline(never)] // compared by address: it must have one
extern "C" fn on_sigint(_: c_int) {
    let in_force = action().sa_sigaction;
    let mut passes = true;
    if has_takers() {
        // First the count, then the request: who answers it sees the count.
        let number = ARRIVED.fetch_add(1, Ordering::SeqCst) + 1;
        let (asked, unanswered) = ask(number);
        passes = (unanswered || !asked) && take(number);
    }
    if passes && (give_back() || is_from_the_system(in_force)) {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGINT) };
    }
}

/// Whether the handler was called by the system, and not by somebody else's handler, as far as can be told from the action that was in force then: it is ours, or what was
/// there before, for it has been given back this very moment.
fn is_from_the_system(in_force: libc::sighandler_t) -> bool {
    // SAFETY: they stay.
    let earlier = unsafe { EARLIER.load(Ordering::Acquire).as_ref() };
    in_force == address()
        || in_force == libc::SIG_DFL
        || earlier.is_some_and(|e| e.action.sa_sigaction == in_force)
            && !REPLACED.load(Ordering::Relaxed)
}
