//! LuaJIT: compiled code that can be stopped.
//!
//! Compiled code does not see hooks. But LuaJIT has a profiler, and in its line mode the recorder puts a guard into each trace (a
//! test of one byte and a jump) that leaves the trace when bit [`PROFILE`] of `hookmask` is set. So a state is **guarded**: line mode
//! is switched on for it, once, when it is attached; and a delivery sets that bit after it has set the hook. The trace ends, the
//! interpreter goes on, and the next instruction meets the hook, which clears the bit again. `docs/luajit.md` argues why that is
//! sound, with the lines of LuaJIT that it rests on.
//!
//! **Who owns the profiler.** A process has one profiler (`profile_state` in `lj_profile.c`), which belongs to the state that started it.
//! Line mode is switched on for any state that asks, before that is looked at. But the bit has a second meaning: LuaJIT
//! may call the owner's callback with the state that has the bit. So a state of our own, the helper, owns the profiler while any state is
//! guarded: its callback does nothing. Where somebody else owns it already, no bit is ever set, and code runs interpreted.
//!
//! **The timer and the handler of the profiler** (`ITIMER_PROF`, `SIGPROF`) are put back as they were each time that LuaJIT has changed them.
//!
//! **Nothing is guessed.** The place of `hookmask` is found ([`crate::hookmask`]); and the first attach of a process tries the whole in a
//! state of its own: an endless compiled loop must end. If it does not, or if LuaJIT is too old, code runs interpreted ([`Jit::Interpreted`]).

use crate::hookless;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::CStr;
use watchdog::Ticks;

/// `HOOK_PROFILE` in `lj_obj.h`.
#[cfg(feature = "luajit")]
const PROFILE: u8 = 0x80;

/// How compiled code is made to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jit {
    /// This engine has no compiler.
    #[cfg_attr(not(feature = "luajit"), default)]
    None,
    /// Compiled code is not entered while limits are in force.
    #[cfg_attr(feature = "luajit", default)]
    Interpreted,
    /// Compiled code has guards.
    Guarded,
}

impl Jit {
    /// `"none"`, `"interpreted"` or `"guarded"`.
    pub fn as_str(self) -> &'static CStr {
        match self {
            Jit::None => c"none",
            Jit::Interpreted => c"interpreted",
            Jit::Guarded => c"guarded",
        }
    }
}

/// Makes compiled code of this state stoppable, if that can be done.
///
/// # Safety
/// The state is attached and runs on this thread, which is not in a signal handler.
pub unsafe fn guard(state: &State) {
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller.
    unsafe {
        imp::guard(state);
    }
    #[cfg(not(feature = "luajit"))]
    let _ = state;
}

/// The state is being detached (`alive`), or is gone.
///
/// # Safety
/// As [`guard`].
pub unsafe fn unguard(state: &State, alive: bool) {
    #[cfg(feature = "luajit")]
    // SAFETY: by the caller.
    unsafe {
        imp::unguard(state, alive);
    }
    #[cfg(not(feature = "luajit"))]
    let _ = (state, alive);
}

/// `lua_sethook` for a delivery. **Signal context**; owner thread.
///
/// # Safety
/// `co` is a live, initialised coroutine of this state.
pub unsafe fn set_hook(
    state: &State,
    co: *mut lua_State,
    hook: sys::Hook,
    mask: std::ffi::c_int,
    count: std::ffi::c_int,
) {
    // SAFETY: by the caller.
    unsafe {
        unmark(state);
        sys::set_hook(co, Some(hook), mask, count);
        mark(state);
    }
}

/// Compiled code is to be left. **Signal context**; owner thread.
pub fn mark(state: &State) {
    #[cfg(feature = "luajit")]
    imp::mark(state);
    #[cfg(not(feature = "luajit"))]
    let _ = state;
}

/// Takes the bit away: before anything else is done with the hook, for LuaJIT is not to see both at once. Whether it was there.
pub fn unmark(state: &State) -> bool {
    #[cfg(feature = "luajit")]
    if let Some(mask) = hookless::hookmask(state) {
        // SAFETY: found behind the main state, which is live. Owner thread.
        let was = unsafe { mask.read_volatile() };
        // SAFETY: as above.
        unsafe { mask.write_volatile(was & !PROFILE) };
        return was & PROFILE != 0;
    }
    let _ = (state, hookless::hookmask);
    false
}

/// A delivery has been answered. A protected call that was begun between the two puts the bit back if it fails, for LuaJIT saves it with the
/// state of the hooks (`hook_save`, `hook_restore`), and compiled code would leave at each guard from then on: so looks are taken later.
pub fn sweep(state: &State) {
    if state.jit.get() == Jit::Guarded {
        state.record().sweep();
        state.record().arm(Ticks::now()); // the timer thread sees what is due first
    }
}

/// The script of this state is about to start the profiler: it gets it, if no other state is guarded. Whether it does. If not, it must not try: for a
/// moment, while another state is detached, nobody owns it.
///
/// # Safety
/// As [`guard`].
#[cfg(feature = "luajit")]
pub unsafe fn lend(state: &State) -> bool {
    // SAFETY: by the caller.
    unsafe { imp::lend(state) }
}

/// The script of this state has stopped the profiler, or failed to start it.
///
/// # Safety
/// As [`guard`].
#[cfg(feature = "luajit")]
pub unsafe fn take_back(state: &State, l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { imp::take_back(state, l) };
}

/// In the child of a fork.
pub fn after_fork() {
    #[cfg(feature = "luajit")]
    imp::after_fork();
}

#[cfg(feature = "luajit")]
mod imp {
    use super::{Jit, PROFILE};
    use crate::hookless;
    use crate::limits::{Limits, Reason};
    use crate::state::State;
    use crate::sys::{self, lua_State, profiler};
    use crate::vm::{Vm, attach_state};
    use std::cell::Cell;
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};
    use std::time::Duration;

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

    /// What the trial has shown.
    static TRIAL: AtomicU8 = AtomicU8::new(UNKNOWN);
    const UNKNOWN: u8 = 0;
    const UNDER_WAY: u8 = 1;
    const GOOD: u8 = 2;
    const BAD: u8 = 3;

    thread_local! {
        /// This thread is making the trial.
        static TRYING: Cell<bool> = const { Cell::new(false) };
    }

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

    pub fn after_fork() {
        // Relaxed: one thread.
        BUSY.store(false, Ordering::Relaxed);
        if TRIAL.load(Ordering::Relaxed) == UNDER_WAY {
            TRIAL.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    pub unsafe fn guard(state: &State) {
        if state.layout.get().hookmask.is_none() || !profiler::is_there() || !tried() {
            return;
        }
        let owned = locked(|| {
            // SAFETY: the lock is held; the state is live, on this thread. No Lua error leaves these functions.
            let owned = OWNED.load(Ordering::Relaxed) || unsafe { own() };
            if owned {
                GUARDED.fetch_add(1, Ordering::Relaxed);
                // SAFETY: as above. It flushes what has been compiled without guards.
                unsafe { profiler::start(state.main.get(), c"l", nothing, ptr::null_mut()) };
            }
            owned
        });
        if owned {
            state.jit.set(Jit::Guarded);
        }
    }

    pub unsafe fn lend(state: &State) -> bool {
        locked(|| {
            let alone = GUARDED.load(Ordering::Relaxed) == 1;
            if alone {
                LENT.store(ptr::from_ref(state).cast_mut(), Ordering::Release);
                // SAFETY: the lock is held.
                unsafe { disown() };
                ignore_late_sigprof();
            }
            alone
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
        let lost = locked(|| {
            if !ptr::eq(LENT.load(Ordering::Relaxed), state) {
                return false;
            }
            // SAFETY: the lock is held; the state is live, on this thread. Stopping what has not been started does nothing.
            unsafe {
                profiler::stop(state.main.get());
                late_sigprof_is_over();
                LENT.store(ptr::null_mut(), Ordering::Release);
                if !own() {
                    GUARDED.fetch_sub(1, Ordering::Relaxed);
                    return true;
                }
                profiler::start(state.main.get(), c"l", nothing, ptr::null_mut());
            }
            false
        });
        if lost {
            // A state that is not attached has begun to use the profiler meanwhile.
            state.jit.set(Jit::Interpreted);
            // SAFETY: by the caller; the script has called the function that calls this, in `l`.
            unsafe { state.interpret_only(l) };
        }
    }

    pub unsafe fn unguard(state: &State, alive: bool) {
        if state.jit.replace(Jit::Interpreted) != Jit::Guarded {
            return;
        }
        super::unmark(state);
        locked(|| {
            let lent = ptr::eq(LENT.load(Ordering::Relaxed), state);
            if lent {
                LENT.store(ptr::null_mut(), Ordering::Release);
            }
            let left = GUARDED.fetch_sub(1, Ordering::Relaxed) - 1;
            // SAFETY: the lock is held, and the helper is used by its holder alone. A live state is on this thread.
            unsafe {
                if lent {
                    // The script goes on using the profiler; `lua_close` stops it, or has.
                    if !alive {
                        late_sigprof_is_over();
                    }
                } else if alive {
                    // Line mode ends when the owner stops the profiler, so for a moment the state is the owner.
                    disown();
                    keeping_sigprof(|| {
                        profiler::start(state.main.get(), SELDOM, nothing, ptr::null_mut());
                        profiler::stop(state.main.get());
                    });
                    if left != 0 {
                        own();
                    }
                } else if left == 0 {
                    disown();
                }
            }
        });
    }

    pub fn mark(state: &State) {
        if state.jit.get() == Jit::Guarded
            && (OWNED.load(Ordering::Acquire) || ptr::eq(LENT.load(Ordering::Acquire), state))
            && let Some(mask) = hookless::hookmask(state)
        {
            // SAFETY: found behind the main state, which is live. Owner thread.
            unsafe { mask.write_volatile(mask.read_volatile() | PROFILE) };
        }
    }

    /// The longest interval that LuaJIT takes, in milliseconds. The timer is put back before it comes to that.
    const SELDOM: &std::ffi::CStr = c"i1000000";

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
            libc::sigaction(libc::SIGPROF, ptr::null(), new.as_mut_ptr());
            libc::setitimer(libc::ITIMER_PROF, timer.as_ptr(), ptr::null_mut());
            libc::sigaction(libc::SIGPROF, old.as_ptr(), ptr::null_mut());
            new.assume_init().sa_sigaction != libc::SIG_IGN
        }
    }

    /// The helper's callback: samples are none of our business.
    unsafe extern "C" fn nothing(_: *mut c_void, _: *mut lua_State, _: c_int, _: c_int) {}

    /// Whether the whole works in this build of LuaJIT. The first call finds out.
    fn tried() -> bool {
        if TRYING.get() {
            return true;
        }
        loop {
            match TRIAL.compare_exchange(UNKNOWN, UNDER_WAY, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    TRYING.set(true);
                    let result = trial();
                    TRYING.set(false);
                    let known = result.map_or(UNKNOWN, |good| if good { GOOD } else { BAD });
                    TRIAL.store(known, Ordering::Release);
                    if result.is_none() {
                        return false;
                    }
                }
                Err(UNDER_WAY) => std::thread::yield_now(),
                Err(result) => return result == GOOD,
            }
        }
    }

    /// Whether an endless compiled loop in a state of its own is stopped. (It is not quite endless: if the trial fails it must end.) None if
    /// that cannot be tried now, for want of memory or since somebody else uses the profiler.
    fn trial() -> Option<bool> {
        let code = c"local n = 0 for i = 1, 1e9 do n = n + i end return n";
        let question = c"return require('jit.util').traceinfo(1) ~= nil";
        let stopped = |vm: &Vm, l, micros| {
            let limits = Limits::new().timeout(Duration::from_micros(micros));
            // SAFETY: a function is on the stack.
            matches!(unsafe { vm.call(l, 0, 0, 0, &limits) }, Err(stop) if stop.reason == Reason::Timeout)
        };
        // SAFETY: a state of our own, on this thread, closed before we return. `load` leaves a function or a message.
        unsafe {
            let l = sys::luaL_newstate();
            if l.is_null() {
                return None;
            }
            let Ok(vm) = attach_state(l) else {
                sys::lua_close(l);
                return None;
            };
            let guarded = vm.state().jit.get() == Jit::Guarded;
            let load = |code: &std::ffi::CStr| sys::luaL_loadstring(l, code.as_ptr()) == 0;
            sys::luaL_openlibs(l);
            let mut good = false;
            // On a busy machine the first may stop the loop before it is compiled.
            for micros in [300, 3000, 30_000, 300_000] {
                if good || !guarded || !load(code) || !stopped(&vm, l, micros) {
                    break;
                }
                good = load(question)
                    && sys::lua_pcall(l, 0, 1, 0) == 0
                    && sys::lua_toboolean(l, -1) != 0;
                sys::lua_settop(l, 0);
            }
            drop(vm);
            sys::lua_close(l);
            guarded.then_some(good)
        }
    }
}
