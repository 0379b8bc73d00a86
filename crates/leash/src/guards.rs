//! LuaJIT: one guard for each trace.
//!
//! In line mode the recorder puts a guard where a trace begins, and again wherever the source line changes ([`crate::jit`]). To leave each loop,
//! the first is enough: every way round compiled code passes the beginning of a trace, or the copy of its guard that loop unrolling makes. The others cost
//! time: a test and a jump each, and values that must be at hand there.
//!
//! So line mode is on only until a trace has its first guard. LuaJIT tells of each instruction that it is about to record (the event
//! `record`, to which `jit.attach` attaches), and two neighbouring words of its `jit_State` say where it is:
//!
//! - `prev_line` is -1 from the beginning of each trace (`lj_record_setup`) until its first guard is emitted (`rec_profile_need`), and a line then;
//! - `prof_mode` is the mode, which `rec_profile_ins` looks at for each instruction.
//!
//! The rule: before each recorded instruction, **line mode if `prev_line` is -1, no mode if not**. And line mode whenever nothing is being recorded: the event
//! `trace` tells of ends as well. So wherever a script can do anything, the next trace is sure of its guard; if it takes the
//! events away from us, each trace has all its guards again.
//!
//! **LuaJIT before 2025** calls handlers on the coroutine that is being compiled, and not on one of its own. If that one's stack is full, the event `trace` fails
//! before the recorder is set up, and it follows a null pointer (`penalty_pc`). There we attach to `record` alone, which fails as recording itself
//! may, and a script that takes that event away by a copy of the plain `jit.attach` gets rid of its guards.
//!
//! **Nothing is guessed.** The place of `prof_mode` is the one word behind the main state that follows what `luaJIT_profile_start` is told, and the word in front of it must
//! have been -1 and then the right line numbers, in the trial of the first attach. Otherwise this file does nothing.
//!
//! **The script's own handlers** (`jit.v`, `jit.dump`) are called from ours: there is one handler for an event, so `jit.attach` is wrapped.

use crate::hook::state_of;
use crate::library;
use crate::state::State;
use crate::sys::{self, lua_State, profiler};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LINES: c_int = b'l' as c_int;

/// What `prev_line` is before the first guard of a trace.
const NO_LINE: c_int = -1;

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
        let words = words_behind(main);
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

/// Whether the words there were what they should be, now that the trial's loop has been compiled.
pub fn is_confirmed() -> bool {
    let saw = |what: &AtomicBool| what.load(Ordering::Relaxed);
    saw(&SAW_NO_LINE) && saw(&SAW_LINE) && !saw(&SAW_OTHER)
}

/// They were not. Whether there was a place at all.
pub fn forget() -> bool {
    PLACE.swap(0, Ordering::Relaxed) != 0
}

/// The words behind the main state, as far as there is memory. How long its block is, is not known; so the system is asked to copy it, which
/// stops at the end instead of crashing.
#[cfg(target_os = "linux")]
fn words_behind(main: *const lua_State) -> Vec<c_int> {
    const PAGE: usize = 4096;
    const PAGES: usize = 16;
    let mut words = vec![0 as c_int; PAGE * PAGES / size_of::<c_int>()];
    let mut at = main.addr();
    let mut left = size_of_val(&words[..]);
    // One piece for each page: what is copied ends between two pieces.
    let mut pieces = Vec::new();
    while left > 0 {
        let len = (PAGE - at % PAGE).min(left);
        pieces.push(libc::iovec {
            iov_base: ptr::without_provenance_mut(at),
            iov_len: len,
        });
        at += len;
        left -= len;
    }
    let local = libc::iovec {
        iov_base: words.as_mut_ptr().cast(),
        iov_len: size_of_val(&words[..]),
    };
    // SAFETY: `local` is memory of ours; what cannot be read is an error of the call.
    let copied = unsafe {
        libc::process_vm_readv(
            libc::getpid(),
            &local,
            1,
            pieces.as_ptr(),
            pieces.len() as _,
            0,
        )
    };
    words.truncate(usize::try_from(copied).unwrap_or(0) / size_of::<c_int>());
    words
}

#[cfg(not(target_os = "linux"))]
fn words_behind(_: *const lua_State) -> Vec<c_int> {
    Vec::new()
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
        library::run(l, install);
        let mode = state.main.get().byte_add(place).cast::<c_int>();
        if is_installed(l) && mode.read_volatile() == LINES {
            state.prof_mode.set(mode);
        }
    }
}

/// Leaves the mode alone from now on. It is line mode, for nothing is being recorded.
pub fn leave_alone(state: &State) {
    state.prof_mode.set(ptr::null_mut());
}

/// The state is being detached while the profiler belongs to another one. Its compiled code goes with its guards, and what comes has none. Where the place is
/// not known, it keeps them, which costs time and nothing else.
///
/// # Safety
/// The state is live, on this thread, and no recording has been left half given up.
pub unsafe fn end_line_mode(state: &State) {
    let place = PLACE.load(Ordering::Relaxed);
    if place != 0 {
        let main = state.main.get();
        // SAFETY: by the caller; the word is in the block of the main state.
        unsafe {
            main.byte_add(place).cast::<c_int>().write_volatile(0);
            sys::forget_compiled(main);
        }
    }
}

/// Gives the events back, when the state is detached.
///
/// # Safety
/// As [`thin`].
pub unsafe fn uproot(state: &State, l: *mut lua_State) {
    leave_alone(state);
    // SAFETY: by the caller.
    unsafe { library::run(l, remove) };
}

// --- the events ---

/// Its address is the key of the list in the registry: for each event our handler, and its key in the table of handlers.
static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

const EVENTS: [(&CStr, sys::lua_CFunction); 2] = [(c"record", on_record), (c"trace", on_trace)];

/// Those to which it is safe to attach.
fn events() -> &'static [(&'static CStr, sys::lua_CFunction)] {
    let safe = if OWN_COROUTINE.load(Ordering::Relaxed) {
        2
    } else {
        1
    };
    &EVENTS[..safe]
}

/// What LuaJIT tells with the event `trace`. Kept alive, so that it need not make these strings: it calls handlers on a coroutine of its own
/// (`vmthread`), and what fails for want of memory before the call, as under a memory limit, leaves three values on that coroutine's stack; after some dozens of
/// failures they lie behind its end, on top of other objects.
const WORDS: [&CStr; 4] = [c"start", c"stop", c"abort", c"flush"];

const HANDLERS: &CStr = c"_VMEVENTS";

/// An instruction is about to be recorded. **longjmp**, as all below: the script's handler may raise.
unsafe extern "C-unwind" fn on_record(l: *mut lua_State) -> c_int {
    if let Some(mode) = mode_of(l) {
        // SAFETY: the two words, found and confirmed; LuaJIT is in its recorder, on this thread, and calls us.
        let line = unsafe { mode.sub(1).read_volatile() };
        // SAFETY: as above.
        unsafe {
            mode.write_volatile(if line == NO_LINE { LINES } else { 0 });
        }
        if crate::jit::is_trying() {
            note(l, line);
        }
    }
    // SAFETY: a handler that LuaJIT has called.
    unsafe { pass_on(l) }
}

/// A trace begins, ends or is given up.
unsafe extern "C-unwind" fn on_trace(l: *mut lua_State) -> c_int {
    if let Some(mode) = mode_of(l) {
        // SAFETY: as above.
        unsafe { mode.write_volatile(LINES) };
    }
    // SAFETY: as above.
    unsafe { pass_on(l) }
}

fn mode_of(l: *mut lua_State) -> Option<*mut c_int> {
    let mode = state_of(l)?.prof_mode.get();
    (!mode.is_null()).then_some(mode)
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

/// Calls the script's handler, if there is one.
unsafe fn pass_on(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; a C function has LUA_MINSTACK free slots.
    unsafe {
        let arguments = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            sys::lua_insert(l, 1);
            sys::lua_call(l, arguments, 0);
        }
    }
    0
}

/// Pushes the list. False if it is not there.
unsafe fn push_list(l: *mut lua_State) -> bool {
    // SAFETY: by the caller: a free slot.
    unsafe {
        sys::lua_pushlightuserdata(l, key());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        sys::lua_type(l, -1) == sys::LUA_TTABLE
    }
}

unsafe fn is_installed(l: *mut lua_State) -> bool {
    // SAFETY: by the caller: a free slot. Nothing is called.
    unsafe {
        let installed = push_list(l);
        sys::lua_settop(l, -2);
        installed
    }
}

/// Puts our handlers in front of the script's.
unsafe extern "C-unwind" fn install(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots. Fields are read and written without metamethods.
    unsafe {
        sys::lua_settop(l, 0);
        if is_installed(l) || !library::loaded(l, c"jit") {
            return 0;
        }
        let jit = sys::lua_gettop(l);
        sys::lua_pushstring(l, c"attach".as_ptr());
        sys::lua_rawget(l, jit);
        let attach = sys::lua_gettop(l);
        sys::lua_createtable(l, 2 * EVENTS.len() as c_int + WORDS.len() as c_int, 0);
        let list = sys::lua_gettop(l);
        for (i, word) in (2 * EVENTS.len() as sys::lua_Integer + 1..).zip(WORDS) {
            sys::lua_pushstring(l, word.as_ptr());
            sys::lua_rawseti(l, list, i);
        }
        for (i, &(name, handler)) in (0..).step_by(2).zip(events()) {
            let before = copy_of_handlers(l);
            sys::lua_pushnil(l);
            sys::lua_pushcclosure(l, handler, 1);
            let ours = sys::lua_gettop(l);
            sys::lua_pushvalue(l, attach);
            sys::lua_pushvalue(l, ours);
            sys::lua_pushstring(l, name.as_ptr());
            sys::lua_call(l, 2, 0);
            if !push_key_of(l, ours) {
                return 0;
            }
            sys::lua_pushvalue(l, -1);
            sys::lua_rawget(l, before);
            sys::lua_setupvalue(l, ours, 1);
            sys::lua_rawseti(l, list, i + 2);
            sys::lua_pushvalue(l, ours);
            sys::lua_rawseti(l, list, i + 1);
            sys::lua_settop(l, list);
        }
        sys::lua_pushlightuserdata(l, key());
        sys::lua_pushvalue(l, list);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        sys::lua_settop(l, jit);
        library::replace(l, c"attach", attach_to);
    }
    0
}

/// Pushes a copy of the table of handlers; its index.
unsafe fn copy_of_handlers(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller: in a C function, with free slots.
    unsafe {
        sys::lua_createtable(l, 0, 4);
        let copy = sys::lua_gettop(l);
        if library::registered(l, HANDLERS) {
            sys::lua_pushnil(l);
            while sys::lua_next(l, copy + 1) != 0 {
                sys::lua_pushvalue(l, -2);
                sys::lua_insert(l, -2);
                sys::lua_rawset(l, copy);
            }
        }
        sys::lua_settop(l, copy);
        copy
    }
}

/// Pushes the key of a handler in their table. False if it is not there.
unsafe fn push_key_of(l: *mut lua_State, handler: c_int) -> bool {
    // SAFETY: as above.
    unsafe {
        if !library::registered(l, HANDLERS) {
            return false;
        }
        let handlers = sys::lua_gettop(l);
        sys::lua_pushnil(l);
        while sys::lua_next(l, handlers) != 0 {
            if sys::lua_rawequal(l, -1, handler) != 0 {
                sys::lua_settop(l, -2);
                return true;
            }
            sys::lua_settop(l, -2);
        }
        false
    }
}

/// In the place of `jit.attach`.
unsafe extern "C-unwind" fn attach_to(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called.
    unsafe {
        if sys::lua_isnoneornil(l, 2) != 0 && sys::lua_gettop(l) > 0 {
            sys::lua_settop(l, 1);
            each(l, take_away);
            sys::lua_settop(l, 1);
        }
        library::original(l, 0, || {});
        each(l, put_in_front);
    }
    0
}

/// Calls `f` for each event, with our handler, its key and the table of handlers on the stack, one above the other.
unsafe fn each(l: *mut lua_State, f: unsafe fn(*mut lua_State, c_int)) {
    // SAFETY: by the caller: in a C function.
    unsafe {
        if !push_list(l) {
            return;
        }
        let list = sys::lua_gettop(l);
        for i in (1..).step_by(2).take(EVENTS.len()) {
            sys::lua_rawgeti(l, list, i);
            if sys::lua_type(l, -1) != sys::LUA_TFUNCTION {
                break;
            }
            sys::lua_rawgeti(l, list, i + 1);
            if library::registered(l, HANDLERS) {
                f(l, list + 1);
            }
            sys::lua_settop(l, list);
        }
    }
}

/// The first argument is a handler that is to be detached: if it is the script's, it is not called any more.
unsafe fn take_away(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        if !sys::lua_getupvalue(l, ours, 1).is_null() && sys::lua_rawequal(l, -1, 1) != 0 {
            sys::lua_pushnil(l);
            sys::lua_setupvalue(l, ours, 1);
        }
    }
}

/// Whatever has been attached to the event is called from ours.
unsafe fn put_in_front(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        let handlers = ours + 2;
        sys::lua_pushvalue(l, ours + 1);
        sys::lua_rawget(l, handlers);
        if sys::lua_rawequal(l, -1, ours) == 0 {
            sys::lua_setupvalue(l, ours, 1);
            sys::lua_pushvalue(l, ours + 1);
            sys::lua_pushvalue(l, ours);
            sys::lua_rawset(l, handlers);
        }
    }
}

/// Puts the script's handlers where ours are.
unsafe extern "C-unwind" fn remove(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    unsafe {
        each(l, give_back);
        sys::lua_pushlightuserdata(l, key());
        sys::lua_pushnil(l);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    0
}

unsafe fn give_back(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        sys::lua_pushvalue(l, ours + 1);
        sys::lua_rawget(l, ours + 2);
        if sys::lua_rawequal(l, -1, ours) != 0 {
            sys::lua_pushvalue(l, ours + 1);
            sys::lua_getupvalue(l, ours, 1);
            sys::lua_rawset(l, ours + 2);
        }
    }
}
