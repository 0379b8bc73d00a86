//! LuaJIT: who owns the profiler of the process, and which states have guards.
//!
//! A process has one profiler. While any state is guarded, and [a while afterwards](super::quarantine), it belongs to a state of ours, the helper, or is lent to a script
//! ([`crate::profile`]). In both cases the callback is ours, and does nothing for a state that it is not meant for: LuaJIT may call it for any state that has
//! the bit ([`super::mark`]), on that state's thread.

use super::{Jit, PROFILE, quarantine, sampling, trial};
use crate::guards;
use crate::hookless;
use crate::state::State;
use crate::sys::{self, lua_State, profiler};
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Everything about the profiler of this process. The lock is a flag and not a `Mutex`, for the child of a fork must be able to
/// open it.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The state that owns the profiler for us.
static HELPER: AtomicPtr<lua_State> = AtomicPtr::new(ptr::null_mut());
/// It does. Read by signal handlers: the bit is set only then.
static OWNED: AtomicBool = AtomicBool::new(false);
/// The state whose script owns it instead.
static LENT: AtomicPtr<State> = AtomicPtr::new(ptr::null_mut());
/// The process had no handler of `SIGPROF` when a script got the profiler.
static WAS_DEFAULT: AtomicBool = AtomicBool::new(false);
/// States that are guarded.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

fn locked<R>(f: impl FnOnce() -> R) -> R {
    // Acquire and Release: what one holder of the lock did is seen by the next.
    while BUSY
        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        std::thread::yield_now();
    }
    let result = f();
    BUSY.store(false, Ordering::Release);
    result
}

/// The same for a script, which [waits](quarantine::wait_for_the_pause) first; not for ever, if others take the profiler all the time.
fn locked_after_a_pause<R>(mut f: impl FnMut() -> R) -> R {
    for _ in 0..10 {
        quarantine::wait_for_the_pause();
        if let Some(result) = locked(|| quarantine::pause_is_over().then(&mut f)) {
            return result;
        }
    }
    locked(f)
}

pub fn after_fork() {
    BUSY.store(false, Ordering::Relaxed); // one thread
    trial::after_fork();
}

pub unsafe fn guard(state: &State) {
    if state.layout.get().hookmask.is_none() || !profiler::is_there() || !trial::is_passed() {
        return;
    }
    let owned = locked(|| {
        // SAFETY: the lock is held; the state is live, on this thread. No Lua error leaves these functions.
        let owned = unsafe { (callback_is_ours() || own()) && switch_line_mode_on(state) };
        if owned {
            GUARDED.fetch_add(1, Ordering::Relaxed);
            if trial::is_of_guards() {
                // SAFETY: as above; the helper owns the profiler.
                unsafe { guards::find(state.main.get()) };
            }
        }
        owned
    });
    if owned {
        state.jit.set(Jit::Guarded);
    }
}

pub unsafe fn lend(state: &State, mode: &CStr, callback: *mut lua_State) {
    if !OWNED.load(Ordering::Relaxed) {
        return; // as below, without a wait
    }
    locked_after_a_pause(|| {
        if !OWNED.load(Ordering::Relaxed) {
            return; // another state's script has it
        }
        // SAFETY: the lock is held; the rest by the caller.
        unsafe {
            disown();
            ignore_late_sigprof();
            if sampling::start(state, mode, callback) {
                guards::leave_alone(state);
                LENT.store(ptr::from_ref(state).cast_mut(), Ordering::Release);
            } else {
                late_sigprof_is_over();
                own();
            }
        }
    })
}

/// Has each new trace of this state guarded, and throws away what has been compiled without. LuaJIT takes this as a wish to start the profiler, which fails, for it
/// has an owner; but a state that had it lent may be in the midst of `lua_close`, and have none of it any more. Then the helper gets it.
///
/// # Safety
/// The lock is held. The state is live, on this thread.
unsafe fn switch_line_mode_on(state: &State) -> bool {
    // SAFETY: by the caller. No Lua error leaves these functions.
    unsafe {
        let start = || profiler::start(state.main.get(), c"l", nothing, ptr::null_mut());
        start();
        // Not saved and restored around this ([`keeping_sigprof`]): `lua_close` changes the handler without our lock.
        if is_lent() && sampling::is_of_luajit() {
            profiler::stop(state.main.get());
            if !own() {
                return false;
            }
            start();
        }
    }
    true
}

/// A state is not left although it is asked to: if the profiler has got into other hands for a moment, we take it again. On the timer thread.
pub fn reclaim() {
    if !callback_is_ours() {
        // SAFETY: the lock is held.
        locked(|| callback_is_ours() || GUARDED.load(Ordering::Relaxed) == 0 || unsafe { own() });
    }
}

/// The last state has gone some time ago: takes the profiler from the helper, unless another has come. False: it is too early for that. On the timer thread.
pub fn give_up() -> bool {
    locked(|| {
        let leave = GUARDED.load(Ordering::Relaxed) == 0 && OWNED.load(Ordering::Relaxed);
        if leave && !quarantine::is_over() {
            return false;
        }
        if leave {
            // SAFETY: the lock is held.
            unsafe { disown() };
        }
        true
    })
}

/// LuaJIT is about to install its handler of `SIGPROF`, and will put the earlier one back when it stops. Were that the default, a signal that
/// is still on its way then would end the process (in one with threads it did, in one of ten runs). So it is told that the signal was ignored: from that
/// moment on none is pending, and none comes, for the timer is off. [`late_sigprof_is_over`] then restores the default.
fn ignore_late_sigprof() {
    // SAFETY: the structure is filled by the call; `ignoring` is a valid action.
    unsafe {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(libc::SIGPROF, ptr::null(), now.as_mut_ptr());
        if now.assume_init().sa_sigaction == libc::SIG_DFL {
            libc::sigaction(libc::SIGPROF, &ignoring(), ptr::null_mut());
            WAS_DEFAULT.store(true, Ordering::Relaxed);
        }
    }
}

fn late_sigprof_is_over() {
    if WAS_DEFAULT.swap(false, Ordering::Relaxed) {
        // SAFETY: all zeros are the default action.
        unsafe {
            let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(libc::SIGPROF, &default, ptr::null_mut());
        }
    }
}

fn ignoring() -> libc::sigaction {
    // SAFETY: all zeros are a valid action.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = libc::SIG_IGN;
    action
}

pub unsafe fn take_back(state: &State, l: *mut lua_State) {
    // (Whether it is lent to this state is changed by its own thread alone.)
    let give_back = || {
        // SAFETY: the lock is held; the state is live, on this thread. Stopping what has not been started does nothing.
        unsafe {
            sampling::stop(state);
            late_sigprof_is_over();
            LENT.store(ptr::null_mut(), Ordering::Release);
            if own() && switch_line_mode_on(state) {
                return false;
            }
            GUARDED.fetch_sub(1, Ordering::Relaxed);
        }
        true
    };
    if is_lent_to(state) && locked_after_a_pause(give_back) {
        // A state that is not attached has begun to use the profiler meanwhile.
        state.jit.set(Jit::Interpreted);
        // SAFETY: by the caller; the script has called the function that calls this, in `l`.
        unsafe { state.interpret_only(l) };
    } else if state.jit.get() == Jit::Guarded {
        // SAFETY: as above.
        unsafe { guards::thin(state, l) };
    }
}

pub unsafe fn unguard(state: &State, alive: bool) {
    if state.jit.replace(Jit::Interpreted) != Jit::Guarded {
        return;
    }
    super::unmark(state);
    guards::leave_alone(state);
    if alive && is_lent_to(state) {
        quarantine::wait_for_the_pause();
    }
    locked(|| {
        let left = GUARDED.fetch_sub(1, Ordering::Relaxed) - 1;
        // SAFETY: the lock is held, and the helper is used by its holder alone. A live state is on this thread, and LuaJIT has stopped the
        // profiler of one that is gone.
        unsafe {
            if is_lent_to(state) {
                if alive {
                    sampling::stop(state);
                } else {
                    sampling::forget();
                }
                late_sigprof_is_over();
                LENT.store(ptr::null_mut(), Ordering::Release);
            }
            if alive && !guards::end_line_mode(state) && !is_lent() {
                // Line mode ends when the owner stops the profiler, so for a moment the state is the owner. (In which the handler is in force: so only where it must be.)
                disown();
                keeping_sigprof(|| {
                    profiler::start(state.main.get(), SELDOM, nothing, ptr::null_mut());
                    profiler::stop(state.main.get());
                });
            }
            let needed = left != 0 || !quarantine::is_over() && quarantine::at_its_end_give_up();
            if !needed {
                disown();
            } else if !callback_is_ours() {
                own();
            }
        }
    });
}

/// **Signal context.** The lock is not needed: while a state is guarded, this changes only for moments, in which nothing is marked.
fn callback_is_ours() -> bool {
    // Acquire: the profiler was started before.
    OWNED.load(Ordering::Acquire) || is_lent()
}

/// To whichever state.
fn is_lent() -> bool {
    !LENT.load(Ordering::Acquire).is_null()
}

/// Whether the script of this state has the profiler. **Signal context.**
pub fn is_lent_to(state: &State) -> bool {
    ptr::eq(LENT.load(Ordering::Acquire), state)
}

pub fn mark(state: &State) {
    if state.jit.get() == Jit::Guarded
        && callback_is_ours()
        && let Some(mask) = hookless::hookmask(state)
    {
        // SAFETY: found behind the main state, which is live. Owner thread.
        unsafe { mask.write_volatile(mask.read_volatile() | PROFILE) };
    }
}

/// The longest interval that LuaJIT takes, in milliseconds. The timer is put back before it comes to that.
const SELDOM: &CStr = c"i1000000";

/// Makes the helper the owner of the profiler. False if somebody else is, or for want of memory.
unsafe fn own() -> bool {
    let mut helper = HELPER.load(Ordering::Relaxed);
    if helper.is_null() {
        // SAFETY: a new state.
        helper = unsafe { sys::luaL_newstate() };
        HELPER.store(helper, Ordering::Relaxed);
    }
    if helper.is_null() {
        return false;
    }
    // SAFETY: the lock is held, so nobody else uses the helper.
    let owned = keeping_sigprof(|| unsafe {
        profiler::start(helper, SELDOM, nothing, ptr::null_mut());
    });
    OWNED.store(owned, Ordering::Release);
    owned
}

unsafe fn disown() {
    if OWNED.swap(false, Ordering::AcqRel) {
        // SAFETY: as in `own`.
        keeping_sigprof(|| unsafe { profiler::stop(HELPER.load(Ordering::Relaxed)) });
    }
}

/// Calls `f` and puts the handler of `SIGPROF` and its timer back. Whether `f` had installed a handler.
fn keeping_sigprof(f: impl FnOnce()) -> bool {
    // SAFETY: each structure is filled by the call that is given it.
    unsafe {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        let mut timer = MaybeUninit::<libc::itimerval>::zeroed();
        let mut new = MaybeUninit::<libc::sigaction>::zeroed();
        libc::getitimer(libc::ITIMER_PROF, timer.as_mut_ptr());
        libc::sigaction(libc::SIGPROF, &ignoring(), old.as_mut_ptr());
        f();
        // At once: a signal that arrives on another thread before this is handled by LuaJIT.
        libc::sigaction(libc::SIGPROF, old.as_ptr(), new.as_mut_ptr());
        libc::setitimer(libc::ITIMER_PROF, timer.as_ptr(), ptr::null_mut());
        quarantine::begins();
        new.assume_init().sa_sigaction != libc::SIG_IGN
    }
}

/// The helper's callback: samples are none of our business.
unsafe extern "C" fn nothing(_: *mut c_void, _: *mut lua_State, _: c_int, _: c_int) {}
