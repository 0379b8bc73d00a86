//! Where the code is: a traceback in memory of our own.
//!
//! `luaL_traceback` makes strings, and a string can run a collector step, hence finalizers, inside the hook that asks (when
//! that was tried, one of 24 runs hung). `lua_getstack` and `lua_getinfo` with what a line needs fill a struct and allocate
//! nothing, so the lines are written here, in Lua's own form. What is missing is the search of `package.loaded` for the names of
//! library functions, for which the names in the calling code stand in.
//!
//! When a coroutine runs, its trace is followed by those that it was resumed from. Which those are, and in which order, the C stack
//! tells: the frame that runs each ([`crate::layout`], `jump`) lies above the frames of what it resumed.

use crate::hookless;
use crate::info;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::Write;

/// As in `lauxlib.c`: so many frames are shown at each end of a deep stack.
const FIRST: c_int = 10;
const LAST: c_int = 11;

/// Deeper stacks are not measured: `lua_getstack` walks from the top to the level that it is asked for, and a recursion that is 200,000 frames
/// deep would take 100 ms to find the end of.
const DEEPEST: c_int = 20_000;

/// So many stacks of resumed coroutines are shown.
const STACKS: usize = 8;

/// Writes the stack of `l`, then those of the coroutines that it was resumed from. Owner thread; not in a signal handler (it
/// grows `out`).
///
/// `collecting`: the collector may have called what runs in `l`. (And it may have called what has resumed that, where hooks are off in one of these coroutines; in `l` they are
/// off for our own hook, too, which may be asking.)
pub fn capture(state: &State, l: *mut lua_State, collecting: bool, out: &mut String) {
    let chain = resumed_from(state, l);
    // SAFETY: `resumed_from` has found them alive.
    let is_off = |&co: &*mut lua_State| unsafe { hookless::are_off(state, co) };
    // A finalizer in which hooks have been switched on, and that has made a call with limits since, is seen by nothing else.
    // SAFETY: `l` is live, on this thread, by the caller.
    let is_in_finalizer = || unsafe { info::may_be_in_finalizer(l) };
    let collecting = collecting
        || chain.iter().any(is_off)
        || !state.collector_stopped.get() && is_in_finalizer();
    let named = info::names_are_safe(collecting);
    out.push_str("stack traceback:");
    stack(l, named, out);
    for co in chain.iter().take(STACKS) {
        out.push_str("\nresumed from:");
        stack(*co, named, out);
    }
    if chain.len() > STACKS {
        let _ = write!(out, "\n...\t(resumed from {} more)", chain.len() - STACKS);
    }
}

/// Writes the stack of a coroutine that does not run. Owner thread.
pub fn capture_one(co: *mut lua_State, out: &mut String) {
    out.push_str("stack traceback:");
    // SAFETY: `co` is live, on this thread, by the caller.
    let collecting = unsafe { info::may_be_in_finalizer(co) };
    stack(co, info::names_are_safe(collecting), out);
}

/// The coroutine that runs now, innermost of all: its frame is the lowest on the C stack. None if that cannot be told.
pub fn running(state: &State) -> Option<*mut lua_State> {
    if !sys::HOOK_PER_COROUTINE {
        return Some(state.main.get());
    }
    active(state)
        .into_iter()
        .min()
        .map(|(_, co)| co as *mut lua_State)
}

/// The coroutines that run or wait for one that they resumed, with the address of the frame of each.
fn active(state: &State) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let layout = state.layout.get();
    let mut look = |co: *mut lua_State| {
        // SAFETY: the main state, or in the set and looked at by `is_coroutine`.
        if let Some(jump) = unsafe { layout.jump_of(co) }
            && jump != 0
        {
            found.push((jump, co as usize));
        }
    };
    look(state.main.get());
    if state.allocator_is_ours() {
        state.coroutines.for_each(|co, _| {
            // SAFETY: as in `hook::delivery`.
            if state.is_coroutine(co) && unsafe { sys::is_initialised(co) } {
                look(co);
            }
        });
    }
    found
}

/// Whether `block` is the stack of a coroutine that runs, or waits for one that it resumed: a word of its `lua_State` is the address.
pub fn is_stack_of_active(state: &State, block: *const c_void) -> bool {
    let size = state.coroutine_size.get() - state.coroutine_offset.get();
    !block.is_null()
        && active(state).iter().any(|&(_, co)| {
            (0..size / size_of::<usize>()).any(|i| {
                // SAFETY: a live coroutine, of which `size` bytes are readable.
                unsafe { (co as *const usize).add(i).read_volatile() == block as usize }
            })
        })
}

fn resumed_from(state: &State, l: *mut lua_State) -> Vec<*mut lua_State> {
    let mut chain = active(state);
    let own = chain.iter().find(|(_, co)| *co == l as usize).map(|e| e.0);
    let Some(own) = own else {
        // LuaJIT's coroutines are not in the set; the main state is, and waits for them.
        let main = state.main.get();
        // SAFETY: live, on this thread; `ar` is only written. It runs nothing while `lua_close` has its finalizers run.
        let waits =
            l != main && unsafe { sys::lua_getstack(main, 0, &mut std::mem::zeroed()) } != 0;
        return if waits { vec![main] } else { vec![] };
    };
    chain.retain(|&(jump, _)| jump > own);
    chain.sort_unstable();
    chain
        .into_iter()
        .map(|(_, co)| co as *mut lua_State)
        .collect()
}

fn stack(l: *mut lua_State, named: bool, out: &mut String) {
    // SAFETY: `lua_Debug` is plain data, of which zero is a value.
    let mut ar: lua_Debug = unsafe { std::mem::zeroed() };
    let depth = depth(l);
    let mut level = 0;
    // SAFETY: `l` is a live state on this thread; `ar` is filled before it is read.
    while unsafe { sys::lua_getstack(l, level, &mut ar) } != 0 {
        if depth > DEEPEST && level == FIRST {
            let _ = write!(out, "\n\t...\t(and more than {DEEPEST} levels)");
            return;
        }
        if depth > FIRST + LAST && level == FIRST {
            let skip = depth - FIRST - LAST;
            let _ = write!(out, "\n\t...\t(skipping {skip} levels)");
            level += skip;
            continue;
        }
        // SAFETY: just filled for `l`.
        if unsafe { info::line(l, level, &mut ar, named) } {
            frame(&ar, out);
        } else {
            out.push_str("\n\t?");
        }
        level += 1;
    }
}

/// How many frames the stack has, by doubling and bisection, as `lauxlib.c` does; more than [`DEEPEST`] if it has more.
pub fn depth(l: *mut lua_State) -> c_int {
    // SAFETY: as in `stack`.
    let mut ar: lua_Debug = unsafe { std::mem::zeroed() };
    // SAFETY: as in `stack`.
    let mut has = |level| unsafe { sys::lua_getstack(l, level, &mut ar) != 0 };
    if has(DEEPEST) {
        return DEEPEST + 1;
    }
    let (mut low, mut high) = (0, 1);
    while has(high) {
        low = high;
        high *= 2;
    }
    while low < high {
        let mid = (low + high) / 2;
        if has(mid) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    high
}

fn frame(ar: &lua_Debug, out: &mut String) {
    // SAFETY: `lua_getinfo` has filled these with static or interned strings of the running function, or null.
    let text = |s: *const c_char| unsafe {
        if s.is_null() {
            "".into()
        } else {
            CStr::from_ptr(s).to_string_lossy()
        }
    };
    let source = text(ar.short_src.as_ptr());
    let _ = write!(out, "\n\t{source}:");
    if ar.currentline > 0 {
        let _ = write!(out, "{}:", ar.currentline);
    }
    let (name, namewhat, what) = (text(ar.name), text(ar.namewhat), text(ar.what));
    let _ = match (&*namewhat, &*what) {
        ("", "main") => write!(out, " in main chunk"),
        ("", "C") => write!(out, " in ?"),
        ("", "tail") => write!(out, " (...tail calls...)"),
        ("", _) => write!(out, " in function <{source}:{}>", ar.linedefined),
        ("global", _) => write!(out, " in function '{name}'"),
        (kind, _) => write!(out, " in {kind} '{name}'"),
    };
    if sys::is_tail_call(ar) {
        out.push_str("\n\t(...tail calls...)");
    }
}
