//! LuaJIT: a script's samples, taken on the right thread.
//!
//! LuaJIT's handler of `SIGPROF` works on the state that is profiled from whatever thread the signal arrives on, also while that state's own thread changes
//! the same words, or stops the profiler (a null pointer is followed then). So while a script of ours has the profiler, the handler is
//! [`on_sigprof`]: it notes that a sample is due and pokes the thread that runs the state. There the handler of pokes calls LuaJIT's
//! ([`take`]). A sample that comes when the state is not running is none. (A state that a host has attached has no thread while no call
//! is open in it. Then it is the one on which the profiler was started.)
//!
//! **The callback** is ours as well. LuaJIT calls it with any state that has the bit ([`super::mark`]), on that state's thread: it acts
//! only for the state that is profiled. It calls the script's function as LuaJIT's own library does, in a coroutine of its own, but lets no error
//! through, for LuaJIT ends the process then; a stop is delivered again when the function is over.

use super::{owner, quarantine};
use crate::record::Record;
use crate::request::SWEEP;
use crate::state::State;
use crate::sys::{self, lua_State, profiler};
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use watchdog::poke::Thread;

/// The record of the state that is profiled, and its generation then. (A handler may see the one of one state and the other of another:
/// then it asks nobody, or a state that finds nothing to do.)
static RECORD: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());
/// See `RECORD`.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The registry of that state, which tells states apart.
static REGISTRY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// The thread on which the profiler was started, as `Thread::to_bits`.
static STARTED_ON: AtomicU64 = AtomicU64::new(0);
/// LuaJIT's handler of `SIGPROF`.
static THEIRS: AtomicUsize = AtomicUsize::new(0);
/// A sample is due.
static DUE: AtomicBool = AtomicBool::new(false);

/// What LuaJIT tells of the virtual machine. Kept on the stack of the callback's coroutine, so that nothing has to be allocated for
/// it, where no error is caught.
pub const VMSTATES: [&CStr; 5] = [c"N", c"I", c"C", c"G", c"J"];

/// Starts the profiler for a script. False if somebody else has got it.
///
/// # Safety
/// The lock of [`owner`] is held, and nobody of ours owns the profiler. The state is live, on this thread. `callback` is a coroutine of it that is kept alive; on its
/// stack are the script's function and [`VMSTATES`].
pub unsafe fn start(state: &State, mode: &CStr, callback: *mut lua_State) -> bool {
    let record = state.record();
    let (mut before, mut theirs) = (MaybeUninit::zeroed(), MaybeUninit::zeroed());
    // SAFETY: the first by the caller. The structures are filled by the calls; the action is valid, and its handler keeps to what a handler may do.
    let theirs = unsafe {
        let mut ours: libc::sigaction = MaybeUninit::zeroed().assume_init();
        ours.sa_sigaction = address();
        ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGPROF, ptr::null(), before.as_mut_ptr());
        profiler::start(state.main.get(), mode, on_sample, callback.cast());
        // At once: a signal that arrives on another thread before this is handled by LuaJIT.
        libc::sigaction(libc::SIGPROF, &ours, theirs.as_mut_ptr());
        quarantine::begins();
        let before: libc::sigaction = before.assume_init();
        let theirs: libc::sigaction = theirs.assume_init();
        if theirs.sa_sigaction == before.sa_sigaction {
            libc::sigaction(libc::SIGPROF, &before, ptr::null_mut()); // it was not started
            return false;
        }
        theirs.sa_sigaction
    };
    THEIRS.store(theirs, Ordering::Relaxed);
    STARTED_ON.store(Thread::current().to_bits(), Ordering::Relaxed);
    REGISTRY.store(state.registry.cast_mut(), Ordering::Relaxed);
    GENERATION.store(record.request.generation(), Ordering::Relaxed);
    // Release: what is above is seen by who sees this.
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Release);
    true
}

/// Stops it. LuaJIT puts back the handler that was there before.
///
/// # Safety
/// The lock of [`owner`] is held; the state is live, on this thread.
pub unsafe fn stop(state: &State) {
    forget();
    // SAFETY: by the caller.
    unsafe { profiler::stop(state.main.get()) };
}

/// No more samples.
pub fn forget() {
    RECORD.store(ptr::null_mut(), Ordering::Release);
    REGISTRY.store(ptr::null_mut(), Ordering::Relaxed);
    DUE.store(false, Ordering::Relaxed);
}

/// What handles `SIGPROF` now. Async-signal-safe.
fn handler() -> usize {
    // SAFETY: the structure is filled by the call.
    unsafe {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(libc::SIGPROF, ptr::null(), now.as_mut_ptr());
        now.assume_init().sa_sigaction
    }
}

fn address() -> usize {
    let handler: extern "C" fn(c_int) = on_sigprof;
    handler as usize
}

/// Whether LuaJIT's handler is installed: somebody has started the profiler by himself.
pub fn is_of_luajit() -> bool {
    handler() == THEIRS.load(Ordering::Relaxed)
}

/// The handler of `SIGPROF`, on any thread. **Signal context.**
#[inline(never)] // compared by address: it must have one
extern "C" fn on_sigprof(_: c_int) {
    // SAFETY: records are never unmapped.
    if let Some(record) = unsafe { RECORD.load(Ordering::Acquire).as_ref() } {
        DUE.store(true, Ordering::Relaxed);
        if !record.hint(GENERATION.load(Ordering::Relaxed), SWEEP)
            && let Some(thread) = Thread::from_bits(STARTED_ON.load(Ordering::Relaxed))
        {
            thread.poke();
        }
    }
}

/// This thread has been poked. **Signal context.**
pub fn poked(me: Thread) {
    if !DUE.load(Ordering::Relaxed) || STARTED_ON.load(Ordering::Relaxed) != me.to_bits() {
        return;
    }
    // SAFETY: records are never unmapped.
    if let Some(record) = unsafe { RECORD.load(Ordering::Acquire).as_ref() }
        && record.owner.load(Ordering::Relaxed) == 0
    {
        pass_on();
    }
}

/// Takes the sample that is due, if it is of this state. **Signal context**; owner thread, on which the state runs.
pub fn take(state: &State) {
    if owner::is_lent_to(state) && ptr::eq(RECORD.load(Ordering::Acquire), state.record()) {
        pass_on();
    }
}

fn pass_on() {
    if !DUE.swap(false, Ordering::Relaxed) || handler() != address() {
        return; // LuaJIT has stopped the profiler by itself, in `lua_close`
    }
    let theirs = THEIRS.load(Ordering::Relaxed);
    if theirs != 0 {
        // SAFETY: it was installed by `sigaction`, as a handler that takes the number alone (`profile_signal` in `lj_profile.c`).
        let theirs: extern "C" fn(c_int) = unsafe { std::mem::transmute(theirs) };
        theirs(libc::SIGPROF);
    }
}

/// The callback. **Called by the interpreter** in a coroutine `l` of any state; `data` is the callback's coroutine if it is the right one.
unsafe extern "C" fn on_sample(
    data: *mut c_void,
    l: *mut lua_State,
    samples: c_int,
    vmstate: c_int,
) {
    let co = data.cast::<lua_State>();
    // SAFETY: `l` runs on this thread. If its state is the one that is profiled, so does `co`, which has free stack; no error leaves a protected call.
    unsafe {
        let registry = sys::lua_topointer(l, sys::LUA_REGISTRYINDEX);
        if !ptr::eq(REGISTRY.load(Ordering::Relaxed), registry) || sys::lua_checkstack(l, 1) == 0 {
            return;
        }
        let top = sys::lua_gettop(co);
        sys::lua_pushvalue(co, 1);
        sys::lua_pushthread(l);
        sys::lua_xmove(l, co, 1);
        sys::lua_pushinteger(co, samples as sys::lua_Integer);
        let letter = (2..).zip(VMSTATES);
        let letter = letter
            .into_iter()
            .find(|(_, s)| c_int::from(s.to_bytes()[0]) == vmstate);
        sys::lua_pushvalue(co, letter.map_or(2, |(i, _)| i));
        if sys::lua_pcall(co, 3, 0, 0) != 0 {
            sys::lua_settop(co, top);
        }
        profiler::abort_recording(co);
    }
}
