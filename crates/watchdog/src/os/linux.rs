//! Linux: futexes, `tgkill`, `pthread_atfork`, per-thread CPU clocks.
//!
//! Facts that the code relies on:
//!
//! - A futex wait with FUTEX_WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC: nothing has to be computed, or
//!   computed again after a wake-up. Private futexes belong to the address space, so a fork starts with none.
//! - The timer slack of a normal thread is 50 us: its sleep may last that much longer. PR_SET_TIMERSLACK takes it away.
//! - A new thread has the signal mask of its creator. Blocking signals around the creation leaves no moment at which a
//!   handler of the host could run on the new thread.
//! - The signals that a fault raises on the thread itself stay unblocked: a crash in a callback is reported by the host's crash
//!   handler as anywhere else, while a blocked one would kill without a word.
//! - `tgkill` with a thread id of another process, or of no thread, fails with ESRCH.

use crate::sync::AtomicU32;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ptr;
use std::time::Duration;

const SIGNAL: libc::c_int = libc::SIGURG;

/// Room for callbacks and for the report of their panics. Only what is used takes memory.
const TIMER_STACK: usize = 1 << 20;

/// Raised by a thread's own fault, or by its own call.
const FAULTS: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];

/// Runs `f` and leaves `errno` as it was.
fn keep_errno<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: it has no preconditions, and points to the calling thread's `errno` as long as the thread lives.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    let saved = unsafe { *errno };
    let result = f();
    // SAFETY: see above.
    unsafe { *errno = saved };
    result
}

pub(crate) fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC).unwrap_or_default()
}

pub(crate) fn recent() -> u64 {
    clock(libc::CLOCK_MONOTONIC_COARSE).unwrap_or_else(now)
}

/// Whether the kernel's clock is the time-stamp counter of the processors (`timekeeping` in the kernel's documentation of `/sys`). Without a heap, for it may be asked in
/// the child of a fork.
pub(crate) fn clock_is_tsc() -> bool {
    let path = c"/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let mut text = [0u8; 8];
    keep_errno(|| {
        // SAFETY: a constant path, and as many bytes as there is room for; the file is closed by who opened it.
        let read = unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return false;
            }
            let read = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            read
        };
        usize::try_from(read).is_ok_and(|n| text[..n] == *b"tsc\n")
    })
}

/// Reads a clock in nanoseconds; `None` if there is no such clock.
fn clock(id: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    let done = unsafe { libc::clock_gettime(id, &mut time) } == 0;
    // Neither clock is ever negative.
    done.then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

pub(crate) fn wait(word: &AtomicU32, expected: u32, until: u64) {
    let time = libc::timespec {
        tv_sec: (until / 1_000_000_000) as libc::time_t,
        tv_nsec: (until % 1_000_000_000) as libc::c_long,
    };
    let timeout = if until == u64::MAX {
        ptr::null()
    } else {
        ptr::from_ref(&time)
    };
    keep_errno(|| {
        // SAFETY: the word and the time outlive the call; the other arguments are those of FUTEX_WAIT_BITSET.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                expected,
                timeout,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        }
    });
}

pub(crate) fn wake(word: &AtomicU32) {
    keep_errno(|| {
        // SAFETY: FUTEX_WAKE only uses the address of the word, to find its sleepers.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            )
        }
    });
}

pub(crate) fn spawn_timer(run: fn()) -> io::Result<()> {
    let mut blocked = set_of(libc::sigfillset);
    for signal in FAULTS {
        // SAFETY: an initialised set and a valid signal.
        unsafe { libc::sigdelset(&mut blocked, signal) };
    }
    let mut before = set_of(libc::sigemptyset);
    // SAFETY: both sets are valid.
    check(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, &mut before) })?;
    let spawned = spawn_detached(run);
    // SAFETY: the set is the one that was in force before.
    check(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) })?;
    spawned
}

fn spawn_detached(run: fn()) -> io::Result<()> {
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: valid for writing.
    check(unsafe { libc::pthread_attr_init(attr.as_mut_ptr()) })?;
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    let attr = attr.as_mut_ptr();
    // SAFETY: initialised just now.
    let mut result =
        check(unsafe { libc::pthread_attr_setdetachstate(attr, libc::PTHREAD_CREATE_DETACHED) });
    if result.is_ok() {
        // SAFETY: as above; the size is a multiple of the page and above the minimum.
        result = check(unsafe { libc::pthread_attr_setstacksize(attr, TIMER_STACK) });
    }
    // SAFETY: `main_of_timer` takes the function back out of its argument.
    let mut create = || unsafe {
        check(libc::pthread_create(
            thread.as_mut_ptr(),
            attr,
            main_of_timer,
            run as *mut libc::c_void,
        ))
    };
    if result.is_ok() {
        // SAFETY: initialised.
        let above = unsafe { go_above(attr) };
        result = create();
        if above && result.is_err() {
            // It may not. SAFETY: as above.
            unsafe { libc::pthread_attr_setinheritsched(attr, libc::PTHREAD_INHERIT_SCHED) };
            result = create();
        }
    }
    // SAFETY: initialised, and not used any more.
    unsafe { libc::pthread_attr_destroy(attr) };
    result
}

/// The policy of the calling thread, if it is one of those that run until they wait, or nearly so.
fn real_time_policy() -> Option<libc::c_int> {
    // SAFETY: reads a number of this thread.
    let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
    [libc::SCHED_FIFO, libc::SCHED_RR]
        .contains(&policy)
        .then_some(policy)
}

/// A thread of a real-time policy gives its processor to nobody: the timer thread has to be above the one that it is to stop, or may never run. False if this one
/// has none, or there is nothing above it.
///
/// # Safety
/// `attr` is initialised.
unsafe fn go_above(attr: *mut libc::pthread_attr_t) -> bool {
    let Some(policy) = real_time_policy() else {
        return false;
    };
    let mut param = MaybeUninit::<libc::sched_param>::zeroed();
    // SAFETY: `param` is filled by the first call; the attributes are initialised, by the caller.
    unsafe {
        if libc::sched_getparam(0, param.as_mut_ptr()) != 0 {
            return false;
        }
        let mut param = param.assume_init();
        param.sched_priority += 1;
        param.sched_priority <= libc::sched_get_priority_max(policy)
            && libc::pthread_attr_setinheritsched(attr, libc::PTHREAD_EXPLICIT_SCHED) == 0
            && libc::pthread_attr_setschedpolicy(attr, policy) == 0
            && libc::pthread_attr_setschedparam(attr, &param) == 0
    }
}

extern "C" fn main_of_timer(run: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: these two only read their arguments. They make the thread better but not right: failures are ignored.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"leash-timer".as_ptr());
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
    }
    ask_for_short_turns();
    // SAFETY: it is the `fn()` that `spawn_detached` was given.
    let run = unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(run) };
    run();
    ptr::null_mut()
}

/// Has the scheduler give this thread short turns, and so let it in early when it wakes up.
///
/// On a machine with more to do than processors the timer would otherwise wait its turn behind all others, each time that it wakes up: a tenth of a second for each
/// delivery was seen. Who asks for less at a time is let in sooner, at no cost to the others; this takes no privilege. (`sched_runtime` in sched(7), since Linux 6.12;
/// before, the number is ignored.) It makes the thread better but not right: failures are ignored.
fn ask_for_short_turns() {
    /// The least that there is.
    const TURN: Duration = Duration::from_micros(100);
    if real_time_policy().is_some() {
        return; // it is let in at once, and would lose that
    }
    // SAFETY: reads a number of this thread. (-1 may be a nice value or a failure; either can be asked for.)
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        nice,
        runtime: TURN.as_nanos() as u64,
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads as much of the structure as its first field says.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// `struct sched_attr`, its first version: sched_setattr(2). All zeros is the usual policy.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn set_of(fill: unsafe extern "C" fn(*mut libc::sigset_t) -> libc::c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `fill` is sigemptyset or sigfillset, which initialise the set and cannot fail.
    unsafe {
        fill(set.as_mut_ptr());
        set.assume_init()
    }
}

/// The result of a pthread function, which returns its error.
fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

pub(crate) fn thread_id() -> NonZeroU64 {
    // SAFETY: no arguments, cannot fail. The raw call: some C libraries keep the id in thread-local memory.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    // Thread ids are positive; 1 is never reached.
    NonZeroU64::new(id as u64).unwrap_or(NonZeroU64::MIN)
}

pub(crate) fn unblock_signal() {
    let mut set = set_of(libc::sigemptyset);
    // SAFETY: an initialised set and a valid signal.
    unsafe { libc::sigaddset(&mut set, SIGNAL) };
    // SAFETY: a valid set. It cannot fail with these arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
}

pub(crate) fn send_signal(id: NonZeroU64) -> bool {
    let Ok(id) = libc::pid_t::try_from(id.get()) else {
        return false;
    };
    // The process is asked for each time, so that a child of a fork, however it was made, never reaches its parent.
    // SAFETY: sending a signal has no memory effects here; SIGURG is ignored or handled by `on_signal`.
    keep_errno(|| unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, SIGNAL) == 0 })
}

/// # Safety
///
/// `f` must be async-signal-safe.
pub(crate) unsafe fn on_signal(f: fn()) -> io::Result<()> {
    let earlier = signal_action();
    // SAFETY: the action touches errno and calls `f`, both async-signal-safe.
    unsafe { signal_hook_registry::register(SIGNAL, move || keep_errno(f)) }?;
    // What was there before may run on small stacks: Go sends this signal to its own threads, whose goroutines have a few kilobytes, and has a large stack for
    // its handlers. It is called by ours, so ours has to run there, too. Else it runs where the code does, for the signal stacks that Rust gives its threads are small.
    if let (Some(earlier), Some(mut ours)) = (earlier, signal_action())
        && is_handled(&earlier)
        && earlier.sa_flags & libc::SA_ONSTACK != 0
    {
        ours.sa_flags |= libc::SA_ONSTACK;
        // SAFETY: the action that was just read, with one flag changed.
        unsafe { libc::sigaction(SIGNAL, &ours, ptr::null_mut()) };
    }
    Ok(())
}

fn signal_action() -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the structure is filled by the call.
    unsafe {
        let code = libc::sigaction(SIGNAL, ptr::null(), action.as_mut_ptr());
        (code == 0).then(|| action.assume_init())
    }
}

fn is_handled(action: &libc::sigaction) -> bool {
    ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
}

pub(crate) fn set_restart(on: bool) -> bool {
    keep_errno(|| {
        let Some(mut action) = signal_action() else {
            return false;
        };
        if !is_handled(&action) || (action.sa_flags & libc::SA_RESTART != 0) == on {
            return false;
        }
        action.sa_flags ^= libc::SA_RESTART;
        // SAFETY: the action that was just read, with one flag changed.
        unsafe { libc::sigaction(SIGNAL, &action, ptr::null_mut()) == 0 }
    })
}

pub(crate) fn thread_clock() -> NonZeroU64 {
    let mut id: libc::clockid_t = 0;
    // SAFETY: the calling thread is alive, and `id` is valid for writing.
    let code = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut id) };
    debug_assert_eq!(code, 0, "a running thread has a clock");
    // One more than the id, since 0 has to mean "none".
    NonZeroU64::MIN.saturating_add(u64::from(id as u32))
}

pub(crate) fn read_thread_clock(bits: NonZeroU64) -> Option<Duration> {
    let id = u32::try_from(bits.get() - 1).ok()? as libc::clockid_t;
    keep_errno(|| clock(id)).map(Duration::from_nanos)
}

pub(crate) fn own_time() -> Duration {
    Duration::from_nanos(keep_errno(|| clock(libc::CLOCK_THREAD_CPUTIME_ID)).unwrap_or_default())
}

pub(crate) fn at_fork(before: extern "C" fn(), in_child: extern "C" fn()) -> io::Result<()> {
    // SAFETY: both functions stay for ever: this library is not unloaded.
    check(unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) })
}
