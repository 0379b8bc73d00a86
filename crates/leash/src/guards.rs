//! LuaJIT: one guard for each trace.
//!
//! In line mode the recorder puts a guard where a trace begins, and again wherever the source line changes ([`crate::jit`]). To leave each loop,
//! one is enough, if it is between the beginning of a trace and the jump at its end. The others cost
//! time: a test and a jump each, and values that must be at hand there.
//!
//! The best place for the one is **just before the trace may end** ([`closing`]), and not its beginning: LuaJIT gives a side trace a loop of its own only where it leaves its
//! parent by exit 0, the state at the parent's beginning (`lj_record_setup`: "potentially form an extra loop"). A guard at the beginning takes that number, and all other exits before the
//! next snapshot get number 1.
//!
//! LuaJIT tells of each instruction that it is about to record (the event
//! `record`, to which `jit.attach` attaches), and two neighbouring words of its `jit_State` say where it is:
//!
//! - `prev_line` is -1 from the beginning of each trace (`lj_record_setup`), and a line as soon as its first guard has been emitted (`rec_profile_need`);
//! - `prof_mode` is the mode, which `rec_profile_ins` looks at for each instruction.
//!
//! The rule: before each recorded instruction, **line mode if the trace has no guard and the instruction may close a loop, no mode if not**. That there is no guard yet is said by
//! `prev_line`, in which we write another number that is no line once the recording has begun, so that a new beginning is told apart. And line mode whenever nothing is being recorded: the event
//! `trace` tells of ends as well. So wherever a script can do anything, the next trace is sure of its guard; if it takes the
//! events away from us, each trace has all its guards again.
//!
//! **LuaJIT before 2025** calls handlers on the coroutine that is being compiled, and not on one of its own. If that one's stack is full, the event `trace` fails
//! before the recorder is set up, and it follows a null pointer (`penalty_pc`). There we attach to `record` alone, which fails as recording itself
//! may, and a script that takes that event away by a copy of the plain `jit.attach` gets rid of its guards.
//!
//! **Nothing is guessed.** The place of `prof_mode` is the one word behind the main state that follows what `luaJIT_profile_start` is told, and the word in front of it must
//! have been -1 and then the right line numbers, in the trial of the first attach. Otherwise this file does nothing. The trial first only observes, with a guard at each beginning.

mod closing;
mod events;
mod peek;

use crate::hook::state_of;
use crate::library;
use crate::state::State;
use crate::sys::{self, lua_State, profiler};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LINES: c_int = b'l' as c_int;

/// What `prev_line` is before the first guard of a trace.
const NO_LINE: c_int = -1;

/// What we write there when the first instruction has no guard. (Lines are not negative.)
const WAITING: c_int = -2;

/// Where `prof_mode` is, as an offset from the main state; 0: not known.
static PLACE: AtomicUsize = AtomicUsize::new(0);

// What the trial has seen in front of it.
static SAW_NO_LINE: AtomicBool = AtomicBool::new(false);
static SAW_LINE: AtomicBool = AtomicBool::new(false);
static SAW_OTHER: AtomicBool = AtomicBool::new(false);
/// Handlers are called on a coroutine of LuaJIT's own, which the trial has seen.
static OWN_COROUTINE: AtomicBool = AtomicBool::new(false);

/// The lines of the trial's loop, so that it is known what is to be seen.
pub const TRIAL_LINES: std::ops::RangeInclusive<c_int> = 301..=304;

/// So much is searched behind the main state.
const MOST_WORDS: usize = 16 << 10;

/// Looks for the place, in the state of the trial.
///
/// # Safety
/// `main` is a live main state on its own thread, in which nothing runs and nothing is compiled; another state owns the profiler, and the lock of
/// [`crate::jit`] is held.
pub unsafe fn find(main: *mut lua_State) {
    let mut fits = Vec::new();
    for (i, mode) in [c"l", c"f", c"l"].into_iter().enumerate() {
        // SAFETY: by the caller.
        unsafe { profiler::start(main, mode, nothing, ptr::null_mut()) };
        let words = peek::words(main.addr(), MOST_WORDS);
        let expected = c_int::from(mode.to_bytes()[0]);
        if i == 0 {
            fits = (1..words.len()).collect();
        }
        fits.retain(|&at| words.get(at) == Some(&expected));
    }
    let place = match fits[..] {
        [only] => only * size_of::<c_int>(),
        _ => 0,
    };
    for saw in [&SAW_NO_LINE, &SAW_LINE, &SAW_OTHER] {
        saw.store(false, Ordering::Relaxed);
    }
    // Relaxed: read after the trial is over, which is published by its result.
    PLACE.store(place, Ordering::Relaxed);
}

unsafe extern "C" fn nothing(_: *mut c_void, _: *mut lua_State, _: c_int, _: c_int) {}

/// Whether this thread makes the trial, and the words have not been confirmed yet.
fn is_observing() -> bool {
    crate::jit::is_trying() && !is_confirmed()
}

/// Whether the words there were what they should be, when the trial's loop was compiled.
pub fn is_confirmed() -> bool {
    let saw = |what: &AtomicBool| what.load(Ordering::Relaxed);
    saw(&SAW_NO_LINE) && saw(&SAW_LINE) && !saw(&SAW_OTHER)
}

/// They were not. Whether there was a place at all.
pub fn forget() -> bool {
    PLACE.swap(0, Ordering::Relaxed) != 0
}

/// Keeps the guards of this state to one for each trace, from now on. It is in line mode.
///
/// # Safety
/// The state is live, on this thread, not in a signal handler; `l` is of this state and has free stack.
pub unsafe fn thin(state: &State, l: *mut lua_State) {
    let place = PLACE.load(Ordering::Relaxed);
    if place == 0 {
        return;
    }
    // SAFETY: by the caller; `install` takes nothing. The word is in the block of the main state, as in every state of this LuaJIT.
    unsafe {
        library::run(l, events::install);
        let mode = state.main.get().byte_add(place).cast::<c_int>();
        if events::is_installed(l) && mode.read_volatile() == LINES {
            state.prof_mode.set(mode);
        }
    }
}

/// Leaves the mode alone from now on. It is line mode, for nothing is being recorded.
pub fn leave_alone(state: &State) {
    state.prof_mode.set(ptr::null_mut());
}

/// The state is being detached. Its compiled code goes with its guards, and what comes has none. False where the place is not known: then it keeps them, which costs time and nothing
/// else.
///
/// # Safety
/// The state is live, on this thread, and no recording has been left half given up.
pub unsafe fn end_line_mode(state: &State) -> bool {
    let place = PLACE.load(Ordering::Relaxed);
    if place != 0 {
        let main = state.main.get();
        // SAFETY: by the caller; the word is in the block of the main state.
        unsafe {
            main.byte_add(place).cast::<c_int>().write_volatile(0);
            sys::forget_compiled(main);
        }
    }
    place != 0
}

/// Gives the events back, when the state is detached.
///
/// # Safety
/// As [`thin`].
pub unsafe fn uproot(state: &State, l: *mut lua_State) {
    leave_alone(state);
    // SAFETY: by the caller.
    unsafe { library::run(l, events::remove) };
}

/// For the trial: finds out what else has to be known.
///
/// # Safety
/// As [`thin`], in a state of our own.
pub unsafe fn learn(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe { library::run(l, events::learn) };
}

/// In the trial, which runs in a main state.
fn note(l: *mut lua_State, line: c_int) {
    let main = state_of(l).map(|state| state.main.get());
    OWN_COROUTINE.store(main != Some(l), Ordering::Relaxed);
    let saw = match line {
        NO_LINE => &SAW_NO_LINE,
        line if TRIAL_LINES.contains(&line) => &SAW_LINE,
        _ => &SAW_OTHER,
    };
    saw.store(true, Ordering::Relaxed); // one thread
}
