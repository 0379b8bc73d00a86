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

use super::signals::{self, Action};
use leash::sys::{self, lua_State};
use leash::{Guest, Handle};
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
}

// SAFETY: `main` is used on the thread of the state alone, while the state exists.
unsafe impl Sync for Taken {}

static STATES: Mutex<Vec<&Taken>> = Mutex::new(Vec::new());
static STARTED: Mutex<bool> = Mutex::new(false);
/// The process has had a handler: so where there is none, nothing runs.
static HAD_HANDLER: AtomicBool = AtomicBool::new(false);
/// A child has to let SIGINT through, since its parent did before it came to us.
static CHILD_HEARS: AtomicBool = AtomicBool::new(false);

/// The thread on which the earlier handler is to be called; 0: none. What follows is for that thread.
static CALL_ON: AtomicU64 = AtomicU64::new(0);
/// The state, the hook of which the handler is not to change.
static KEEP_HOOK_OF: AtomicPtr<Taken> = AtomicPtr::new(ptr::null_mut());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let new: &Taken = Box::leak(Box::new(Taken {
        handle: guest.handle(),
        main: guest.main(),
        thread: Thread::current(),
    }));
    let mut states = lock(&STATES);
    states.retain(|s| s.handle.exists() && s.main != new.main);
    states.push(new);
    drop(states);
    if !signals::block(true) {
        CHILD_HEARS.store(true, Ordering::Relaxed);
    }
    Ok(())
}

fn start() -> Result<(), String> {
    let mut started = lock(&STARTED);
    if *started {
        return Ok(());
    }
    // SAFETY: the handler makes system calls that are async-signal-safe, and uses atomics.
    unsafe { poke::on_poke(call_earlier_handler) }.map_err(|e| e.to_string())?;
    // SAFETY: the function makes one system call.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    let before = signals::block_all();
    let thread = thread::Builder::new()
        .name("leash-ctrlc".to_owned())
        .stack_size(64 << 10)
        .spawn(take);
    signals::restore(&before);
    thread.map_err(|e| format!("cannot start a thread: {e}"))?;
    *started = true;
    Ok(())
}

/// In the child of a fork: this thread is not there, so the child does on Ctrl-C what its parent did without us.
unsafe extern "C" fn in_child() {
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
        let (unanswered, first) = look();
        let had_handler = HAD_HANDLER.load(Ordering::Relaxed);
        match signals::action() {
            Action::Ignore => continue,
            Action::End if !(had_handler || again || unanswered) => {}
            Action::Handler if !unanswered => {
                HAD_HANDLER.store(true, Ordering::Relaxed);
                let_through(first);
            }
            Action::End | Action::Handler => {
                signals::end_on_it();
                let_through(first);
                continue;
            }
        }
        for state in lock(&STATES).iter() {
            state.handle.break_off();
        }
    }
}

/// Whether a state has not yet answered to the last Ctrl-C; and the state that came first.
fn look() -> (bool, Option<&'static Taken>) {
    let mut states = lock(&STATES);
    states.retain(|s| s.handle.exists());
    let unanswered = states.iter().any(|s| s.handle.is_breaking_off());
    (unanswered, states.first().copied())
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
