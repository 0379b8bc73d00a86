//! The thread that takes Ctrl-C.
//!
//! It sleeps in `sigwait`, so it costs nothing. When SIGINT comes it decides, by what the process would have done at this moment:
//!
//! | the process would | because | so |
//! |---|---|---|
//! | ignore it | it runs in the background of a shell | it is ignored |
//! | call a handler | an interpreter runs a chunk, or the host has a handler of its own | the handler is called, and what runs is broken off |
//! | call a handler, and the last Ctrl-C is still unanswered | what runs is deep in a C function | it ends |
//! | end, and has had a handler | an interpreter is at its prompt, or has been told once already | it ends |
//! | end, and never had a handler | the host does nothing about Ctrl-C | what runs is broken off; it ends on a second Ctrl-C within two seconds, or while the first is unanswered |
//!
//! **The earlier handler is called on the state's thread**, by the system and not by us: SIGINT is sent to that thread, where it waits since it is
//! blocked, and the thread is poked; in that signal handler it is let through for a moment. The standard handler sets a hook on the
//! main state, which does what is done here already, less well: it is taken away again.
//!
//! **After a fork** the child has no such thread, and does on Ctrl-C what its parent did without us, until it asks for this again. Another thread of the
//! parent may have been in here at that moment: so there is no lock, but a list that only grows and a flag that the child resets.

use super::signals::{self, Action};
use leash::sys::{self, lua_State};
use leash::{Guest, Handle};
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use watchdog::poke::{self, Thread};

/// Two Ctrl-C within this are meant to end a process that has no handler.
const TWICE: Duration = Duration::from_secs(2);

/// How long to wait for the earlier handler.
const PATIENCE: Duration = Duration::from_millis(200);

/// A state that is to be broken off. Never freed, since a signal handler may look at it: 40 bytes for each state that asks for this.
struct Taken {
    handle: Handle,
    main: *mut lua_State,
    thread: Thread,
    /// The one that asked before it.
    older: *const Taken,
}

/// The one that asked last.
static NEWEST: AtomicPtr<Taken> = AtomicPtr::new(ptr::null_mut());

/// Whether the thread runs.
static STARTED: AtomicU8 = AtomicU8::new(NO);
const NO: u8 = 0;
const UNDER_WAY: u8 = 1;
const YES: u8 = 2;

/// The process has had a handler: so where there is none, nothing runs.
static HAD_HANDLER: AtomicBool = AtomicBool::new(false);
/// A child has to let SIGINT through, since its parent did before it came to us.
static CHILD_HEARS: AtomicBool = AtomicBool::new(false);

/// The thread on which the earlier handler is to be called; 0: none. What follows is for that thread.
static CALL_ON: AtomicU64 = AtomicU64::new(0);
/// The state, the hook of which the handler is not to change.
static KEEP_HOOK_OF: AtomicPtr<Taken> = AtomicPtr::new(ptr::null_mut());

/// All states that exist, the newest first.
fn states() -> impl Iterator<Item = &'static Taken> {
    // Acquire: what is in the list was written before it was put there.
    // SAFETY: what is in the list is never freed.
    let newest = unsafe { NEWEST.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above.
    let all = std::iter::successors(newest, |taken| unsafe { taken.older.as_ref() });
    all.filter(|taken| taken.handle.exists())
}

/// Ctrl-C breaks off what this state runs. To be called on the thread that runs it.
///
/// # Errors
/// If the thread, or the signal handler, cannot be had.
pub fn take_for(guest: Guest) -> Result<(), String> {
    start()?;
    if signals::action() == Action::Handler {
        HAD_HANDLER.store(true, Ordering::Relaxed);
    }
    let new = Box::leak(Box::new(Taken {
        handle: guest.handle(),
        main: guest.main(),
        thread: Thread::current(),
        older: ptr::null(),
    }));
    let mut newest = NEWEST.load(Ordering::Relaxed);
    loop {
        new.older = newest;
        // Release: see `states`.
        match NEWEST.compare_exchange(newest, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => break,
            Err(other) => newest = other,
        }
    }
    if !signals::block(true) {
        CHILD_HEARS.store(true, Ordering::Relaxed);
    }
    Ok(())
}

fn start() -> Result<(), String> {
    loop {
        // Acquire and Release: who sees that it runs sees what was done before.
        match STARTED.compare_exchange(NO, UNDER_WAY, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {
                let result = start_now();
                let known = if result.is_ok() { YES } else { NO };
                STARTED.store(known, Ordering::Release);
                return result;
            }
            Err(UNDER_WAY) => thread::yield_now(),
            Err(_) => return Ok(()),
        }
    }
}

fn start_now() -> Result<(), String> {
    static KNOWS_OF_FORKS: AtomicBool = AtomicBool::new(false);
    // SAFETY: the handler makes system calls that are async-signal-safe, and uses atomics.
    unsafe { poke::on_poke(call_earlier_handler) }.map_err(|e| e.to_string())?;
    if !KNOWS_OF_FORKS.swap(true, Ordering::Relaxed) {
        // SAFETY: the function stores to atomics and makes one system call.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    let before = signals::block_all();
    let thread = thread::Builder::new()
        .name("leash-ctrlc".to_owned())
        .stack_size(64 << 10)
        .spawn(take);
    signals::restore(&before);
    thread.map_err(|e| format!("cannot start a thread: {e}"))?;
    Ok(())
}

/// In the child of a fork, on its only thread. See the module's header.
unsafe extern "C" fn in_child() {
    // Relaxed: one thread.
    STARTED.store(NO, Ordering::Relaxed);
    CALL_ON.store(0, Ordering::Relaxed);
    if CHILD_HEARS.load(Ordering::Relaxed) {
        signals::block(false);
    }
}

/// The thread.
fn take() {
    let mut last: Option<Instant> = None;
    loop {
        signals::wait();
        let now = Instant::now();
        let again = last.replace(now).is_some_and(|l| now - l < TWICE);
        let (unanswered, newest) = look();
        let had_handler = HAD_HANDLER.load(Ordering::Relaxed);
        match signals::action() {
            Action::Ignore => continue,
            // It ends a call, and nothing besides.
            Action::Handler if leash::sigint_is_wanted() => {
                let_through(newest);
                continue;
            }
            Action::End if !(had_handler || again || unanswered) => {}
            Action::Handler if !unanswered => {
                HAD_HANDLER.store(true, Ordering::Relaxed);
                let_through(newest);
            }
            Action::End | Action::Handler => {
                signals::end_on_it();
                let_through(newest);
                continue;
            }
        }
        // One may have asked twice, the second time in the child of a fork; it is told once.
        let mut told: Vec<*mut lua_State> = Vec::new();
        for state in states() {
            if !told.contains(&state.main) {
                told.push(state.main);
                state.handle.break_off();
            }
        }
    }
}

/// Whether a state has not yet answered to the last Ctrl-C; and the state that came last.
fn look() -> (bool, Option<&'static Taken>) {
    let unanswered = states().any(|s| s.handle.is_breaking_off());
    (unanswered, states().next())
}

/// Has the process do what it would have done without us, on the thread of that state.
fn let_through(state: Option<&'static Taken>) {
    if let Some(state) = state {
        let thread = state.thread;
        KEEP_HOOK_OF.store(ptr::from_ref(state).cast_mut(), Ordering::Relaxed);
        // Release: with what it is to work on.
        CALL_ON.store(thread.to_bits(), Ordering::Release);
        // SAFETY: a signal to a thread of this process; if it has ended, or its id is another thread's now, this is an error, or that
        // thread does what the process would have done.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                libc::getpid(),
                thread.id().get() as c_int,
                libc::SIGINT,
            ) == 0
        };
        if sent && thread.poke() {
            let start = Instant::now();
            while CALL_ON.load(Ordering::Acquire) != 0 && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
            return;
        }
        CALL_ON.store(0, Ordering::Relaxed);
    }
    // No state is left, or its thread has ended.
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGINT) };
    signals::block(false);
    signals::block(true);
}

/// **Signal context**, on any thread that is poked.
fn call_earlier_handler() {
    let call_on = CALL_ON.load(Ordering::Acquire);
    if !Thread::from_bits(call_on).is_some_and(|t| t.is_current()) {
        return;
    }
    // SAFETY: what was stored there is never freed.
    let state = unsafe { KEEP_HOOK_OF.load(Ordering::Relaxed).as_ref() };
    let main = state.filter(|s| s.handle.exists()).map(|s| s.main);
    // SAFETY: while it exists the main state is live, and this is its thread: nothing but what this handler interrupts uses it.
    let hook = main.map(|l| unsafe { hook_of(l) });
    signals::block(false);
    signals::block(true);
    if let (Some(l), Some(before)) = (main, hook) {
        // SAFETY: as above.
        unsafe {
            if hook_of(l) != before {
                sys::set_hook(l, before.0, before.1, before.2);
            }
        }
    }
    CALL_ON.store(0, Ordering::Release);
}

/// Function, mask and count.
///
/// # Safety
/// `l` is a live state on its own thread.
unsafe fn hook_of(l: *mut lua_State) -> (Option<sys::Hook>, c_int, c_int) {
    // SAFETY: by the caller.
    unsafe {
        (
            sys::lua_gethook(l),
            sys::lua_gethookmask(l),
            sys::lua_gethookcount(l),
        )
    }
}
