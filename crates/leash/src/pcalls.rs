//! From 5.2 on, and on LuaJIT: a stop goes past all the protected calls of a coroutine at once.
//!
//! A stop is an error that is raised again at each next instruction, so each `pcall` on its way catches it once. (LuaJIT: [`frames`]. The rest is of 5.2 to 5.5.) In the main state that costs nothing, for
//! protected calls nest 200 deep there at most (`LUAI_MAXCCALLS`). But in a coroutine, where they may be yielded across, an error that has been caught gives the C
//! stack back (`precover` and `unroll` in `ldo.c`), and the next `pcall` goes on from there: `local function f() repeat pcall(f) until false end` in a coroutine
//! is 200,000 protected calls deep after a second. Each of them that catches something looks at all frames below (`luaD_shrinkstack`): a call with a limit of a third of a
//! second ended after 40.
//!
//! So before the error is raised, `pcall` and `xpcall` are made to look as if they had been called plainly: the bit in their `CallInfo` by which Lua finds them
//! (`CIST_YPCALL`) is taken away. Up to the innermost call with limits in this coroutine, which has to have control, or else down to the coroutine's first
//! function. What happens to the frames is what happens where an error is caught further out: variables to be closed are closed there.
//!
//! **What other C functions have begun by `lua_pcallk` stays**: they may have something to clean up. A script cannot nest them without end: the library has none but these two.
//!
//! **Where things are** in a `CallInfo` is found at run time, as in [`crate::layout`], once for the process, in a state of its own. What is not found beyond doubt is not used: then stops
//! take their time.

mod frames;

pub use frames::Seen;

use crate::scope::Scope;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

/// Offsets in a `CallInfo`, and what is there.
#[derive(Debug)]
struct Places {
    /// The function that has called this one.
    previous: usize,
    /// The byte with the bit of a protected call that can be yielded across.
    flags: usize,
    bit: u8,
    /// The continuation.
    k: usize,
    /// That of `pcall`, and that of `xpcall` (the same).
    catchers: [usize; 2],
}

/// None: they were not found.
static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// LuaJIT: the function at this level, and what is above it on the stack of `l`. None: not known.
///
/// # Safety
/// `l` is live, on this thread, and runs a C function or a hook, or is suspended.
pub unsafe fn seen(l: *mut lua_State, level: c_int) -> Option<Seen> {
    // SAFETY: by the caller.
    unsafe { frames::seen(l, level) }
}

/// Lets no `pcall` and no `xpcall` of the script catch the error that is about to be raised in `l`. LuaJIT: but for the outermost, if `keeps_one`.
///
/// # Safety
/// `l` runs on this thread, in our hook or a C function of ours, and the error that follows ends everything in it up to the innermost call with limits, or the
/// whole coroutine.
pub unsafe fn pass(state: &State, l: *mut lua_State, keeps_one: bool) {
    if cfg!(feature = "luajit") {
        // SAFETY: by the caller.
        return unsafe { frames::pass(state, l, keeps_one) };
    }
    let Some(Some(places)) = PLACES.get() else {
        return;
    };
    if l == state.main.get() || state.entry(l).is_none() {
        return; // it cannot yield; or its calls are not known
    }
    // SAFETY: by the caller: from the function that runs now, each `CallInfo` leads to that which has called it, until null. They stay while `l` runs this.
    unsafe {
        let mut ci = sys::frame(l, 0).cast::<u8>();
        while !ci.is_null() && !is_boundary(state.innermost_of(l), ci) {
            let flags = ci.add(places.flags);
            if flags.read() & places.bit != 0 && places.catchers.contains(&word(ci.add(places.k))) {
                flags.write(flags.read() & !places.bit);
            }
            ci = word(ci.add(places.previous)) as *mut u8;
        }
    }
}

/// Whether no message handler of the script's will be called for an error that is raised in `l`, after [`pass`]. (Except on LuaJIT, [`crate::raise`] takes it away, so there is none.)
///
/// # Safety
/// As [`pass`].
pub unsafe fn will_be_unseen(state: &State, l: *mut lua_State) -> bool {
    // SAFETY: by the caller.
    !cfg!(feature = "luajit") || unsafe { frames::will_be_unseen(state, l) }
}

/// Whether this is the function that has made one of these calls.
fn is_boundary(innermost: Option<&Scope>, ci: *mut u8) -> bool {
    let mut scope = innermost;
    while let Some(s) = scope {
        if s.frame == ci.cast() {
            return true;
        }
        // SAFETY: an open scope of the same coroutine, or null.
        scope = unsafe { s.below.get().as_ref() };
    }
    false
}

/// # Safety
/// It is readable.
unsafe fn word(at: *const u8) -> usize {
    // SAFETY: by the caller.
    unsafe { at.cast::<usize>().read_unaligned() }
}

/// Finds the places, unless that has been done.
pub fn learn() {
    if cfg!(feature = "luajit") {
        return frames::learn();
    }
    if sys::CALL_INFO == 0 || PLACES.get().is_some() {
        return;
    }
    // SAFETY: a state of our own. `sample` gets what it takes, and an error in it is caught.
    let found = unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return; // another attach may have more luck
        }
        let mut samples = Samples::default();
        let status = sys::protected(l, sample, (&raw mut samples).cast());
        // Not for want of memory: another attach may have more luck.
        let found = (status == sys::LUA_OK).then(|| samples.places());
        sys::lua_close(l);
        found
    };
    if let Some(found) = found {
        let _ = PLACES.set(found); // another thread has found the same
    }
}

type Bytes = [u8; sys::CALL_INFO];

/// One protected call in a coroutine.
#[derive(Clone, Copy)]
struct Sample {
    /// The frame of what makes the call, and its bytes meanwhile.
    caller: usize,
    during: Bytes,
    /// The frame of what is called.
    called: Bytes,
    /// What made the call, when that is over, and its continuation; of ours only.
    after: Bytes,
    k: usize,
}

struct Samples {
    /// Which is being taken.
    at: usize,
    /// Ours twice, `pcall`, `xpcall`.
    all: [Sample; 4],
}

impl Default for Samples {
    fn default() -> Self {
        let none = [0; sys::CALL_INFO];
        let sample = Sample {
            caller: 0,
            during: none,
            called: none,
            after: none,
            k: 0,
        };
        Samples {
            at: 0,
            all: [sample; 4],
        }
    }
}

impl Samples {
    fn places(&self) -> Option<Places> {
        let [ours, again, pcall, xpcall] = &self.all;
        let words = || (0..sys::CALL_INFO / size_of::<usize>()).map(|i| i * size_of::<usize>());
        let at = |bytes: &Bytes, offset: usize| {
            usize::from_ne_bytes(
                bytes[offset..][..size_of::<usize>()]
                    .try_into()
                    .expect("a word"),
            )
        };
        let previous =
            only(words().filter(|&o| self.all.iter().all(|s| at(&s.called, o) == s.caller)))?;
        let k = only(words().filter(|&o| [ours, again].iter().all(|s| at(&s.during, o) == s.k)))?;
        // The one bit that the end of the call takes away.
        let changed = |s: &Sample| {
            let bytes = || (0..sys::CALL_INFO).map(|o| (o, s.during[o] ^ s.after[o]));
            only(bytes().filter(|(_, bits)| *bits != 0))
        };
        let (flags, bit) = changed(ours)?;
        let set = |s: &Sample| s.during[flags] & bit != 0;
        if changed(again) != Some((flags, bit))
            || bit.count_ones() != 1
            || !self.all.iter().all(set)
            || pcall.called[flags] & bit != 0
        {
            return None;
        }
        let catchers = [at(&pcall.during, k), at(&xpcall.during, k)];
        let known = catchers.iter().all(|&k| k != 0 && k != ours.k);
        known.then_some(Places {
            previous,
            flags,
            bit,
            k,
            catchers,
        })
    }
}

fn only<T>(mut candidates: impl Iterator<Item = T>) -> Option<T> {
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first)
}

/// Takes all samples, each in a coroutine of its own. **longjmp**: may raise; nothing here owns anything.
unsafe extern "C-unwind" fn sample(l: *mut lua_State) -> c_int {
    // SAFETY: `learn` passes the samples, which live in its frame. A C function has LUA_MINSTACK free slots.
    unsafe {
        let ud = sys::lua_touserdata(l, 1);
        let samples = &mut *ud.cast::<Samples>();
        sys::lua_pushcfunction(l, sys::luaopen_base);
        sys::lua_call(l, 0, 1);
        for (i, name) in [None, None, Some(c"pcall"), Some(c"xpcall")]
            .into_iter()
            .enumerate()
        {
            samples.at = i;
            let co = sys::lua_newthread(l);
            sys::lua_pushcfunction(co, make_call);
            if let Some(name) = name {
                sys::lua_settop(co, 0);
                sys::lua_getfield(l, 2, name.as_ptr());
                sys::lua_xmove(l, co, 1);
            }
            sys::lua_pushcfunction(co, be_called);
            if name == Some(c"xpcall") {
                sys::lua_pushcfunction(co, be_called); // its handler, which is not called
            }
            sys::lua_pushlightuserdata(co, ud);
            let nargs = sys::lua_gettop(co) - 1;
            if sys::lua_resume(co, l, nargs, &mut 0) != sys::LUA_OK {
                sys::lua_xmove(co, l, 1);
                sys::lua_error(l);
            }
            sys::lua_settop(l, 2);
        }
    }
    0
}

/// `make_call(f, samples)`: makes a protected call in our way.
unsafe extern "C-unwind" fn make_call(l: *mut lua_State) -> c_int {
    // SAFETY: called by `sample` with `be_called` and the samples.
    unsafe {
        let samples = &mut *sys::lua_touserdata(l, 2).cast::<Samples>();
        let ci = sys::frame(l, 0);
        let k = sys::pcall_with_continuation(l, 1);
        samples.all[samples.at].after = bytes(ci);
        samples.all[samples.at].k = k;
    }
    0
}

/// `be_called(samples)`: looks at its own frame, and at that of what has called it.
unsafe extern "C-unwind" fn be_called(l: *mut lua_State) -> c_int {
    // SAFETY: called with the samples as its only argument.
    unsafe {
        let samples = &mut *sys::lua_touserdata(l, 1).cast::<Samples>();
        let (own, caller) = (sys::frame(l, 0), sys::frame(l, 1));
        if !own.is_null() && !caller.is_null() {
            let sample = &mut samples.all[samples.at];
            sample.caller = caller as usize;
            sample.during = bytes(caller);
            sample.called = bytes(own);
        }
    }
    0
}

/// # Safety
/// A live `CallInfo`.
unsafe fn bytes(ci: *mut c_void) -> Bytes {
    let mut all = [0; sys::CALL_INFO];
    // SAFETY: by the caller; it is at least as large.
    unsafe { ptr::copy_nonoverlapping(ci.cast(), all.as_mut_ptr(), all.len()) };
    all
}
