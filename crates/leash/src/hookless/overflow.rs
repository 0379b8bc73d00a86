//! 5.1: an error behind which Lua gives back memory: the array of `CallInfo`, one for each call, grows beyond its limit.
//!
//! The array doubles whenever a call finds no place in it (`growCI` in `ldo.c`), which is when `ci`, the call that runs, is at `end_ci`. One of more than 20000
//! places is an error, `stack overflow`; and whoever catches that gives back what is too much (`restore_stack_limit`), after `allowhook`. To get there by calls alone takes 20000 of them, a
//! millisecond for each finalizer and for each `pcall` in it. So `end_ci` is set to `ci` before a call: Lua believes the array full, doubles it, and sets `end_ci` to
//! where it is. At most a dozen calls are enough, one when there was such an error before.
//!
//! Each `lua_call` is one more of the 200 C calls that may be inside each other (`nCcalls`); one too many is an error of its own (`luaD_call`), one that makes nothing grow. So they are
//! made to look fewer until the error is caught: a protected call puts the number back to what it was when it was made (`luaD_pcall`), and a coroutine that it ends is not resumed again.
//!
//! If there is no memory for a larger array, the error is another, and `end_ci` stays where the call was that ran. All that is asked of it is whether a call is there (`==`). Those that
//! ran then are before it; and the next that gets there makes the array grow, as usual. So it is never passed.
//!
//! **What arrives** is not that error, which a stock `coroutine.resume` would return as a text. Lua asks the message handler what is to be in its place, and for this error alone that is a function of ours, [`instead`], which returns the
//! object of the stop. It runs inside the error, perhaps with hooks on: so the hook lets it pass ([`runs_handler`]).
//!
//! **Where they are**: in `lstate.h` of 5.1 each has its distance from `nCcalls`, which is found as other places are ([`crate::layout`]): the only `unsigned short` that is one more in a protected call. The distances
//! are believed only if what is there fits together in all samples: `ci` moves by one entry with each call, from `base_ci` to it and to `end_ci` are whole entries, and as many as the size says.

use super::deep;
use crate::layout::{Sample, word};
use crate::registry;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use std::ffi::{c_int, c_void};

const WORD: usize = size_of::<usize>();

// Behind `nCcalls`: `ci`, `savedpc`, `stack_last`, `stack`, `end_ci`, `base_ci`, and two `int`s, of which the second is `size_ci`.
const SIZE: usize = 4;
const BASE: usize = 8 + WORD;
const END: usize = 8 + 2 * WORD;
const CI: usize = 8 + 6 * WORD;

/// C calls inside each other, of the 200 that may be (`LUAI_MAXCCALLS`), from which on there may be too few left for one of ours.
const MANY: u16 = 150;
const SPARE: u16 = 50;

/// From the smallest array that there is, with 8 places, it takes 12 to have more than 20000; where somebody has set `LUAI_MAXCALLS` higher, more.
const MOST_DOUBLINGS: u32 = 24;

/// The place of `nCcalls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// Where it may be. Of each kind of sample there are six; of the plain ones the first three are from a call that is inside that of the others, and a protected one.
pub fn candidates(plain: &[Sample], with_handler: &[Sample]) -> impl Iterator<Item = Place> {
    let taken = |samples: &[Sample]| samples.iter().filter(|p| !p.is_empty()).count();
    let is_whole = taken(plain) == 6 && taken(with_handler) == 6;
    let size = plain.first().map_or(0, Vec::len);
    let offsets = (CI..size.max(CI + 1) - 1)
        .step_by(2)
        .filter(move |_| is_whole);
    let fits = move |&o: &usize| {
        let calls = |p: &Sample| short(p, o);
        let outer = calls(&plain[5]);
        let entry = word(&plain[0], o - CI).wrapping_sub(word(&plain[5], o - CI));
        let are = |samples: &[Sample], n: u16| samples.iter().all(|p| calls(p) == n);
        (1..MANY).contains(&outer)
            && are(&plain[3..6], outer)
            && are(&with_handler[..6], outer)
            && are(&plain[..3], outer + 1)
            && (1..=256).contains(&entry)
            && plain[..6].iter().all(|p| is_array(p, o, entry))
    };
    offsets.filter(fits).map(Place)
}

fn is_array(p: &Sample, o: usize, entry: usize) -> bool {
    let [ci, end, base] = [CI, END, BASE].map(|before| word(p, o - before));
    let size = i32::from_ne_bytes([0, 1, 2, 3].map(|i| p[o - SIZE + i]));
    base != 0
        && (base..=end).contains(&ci)
        && (ci - base) % entry == 0
        && (end - base) % entry == 0
        && usize::try_from(size).is_ok_and(|size| (end - base) / entry + 1 == size)
}

fn short(p: &Sample, o: usize) -> u16 {
    u16::from_ne_bytes([p[o], p[o + 1]])
}

/// What is kept in the registry, for making a function takes memory.
#[derive(Clone, Copy)]
enum Kept {
    /// [`nothing`], which is called.
    Nothing,
    /// [`place_of_handler`].
    Place,
    /// [`instead`], the message handler.
    Handler,
    /// The error object, until the handler takes it; otherwise `false`, for a new key would take memory, too.
    Object,
}

/// Their keys: light userdata of these addresses.
static KEYS: [u8; 4] = [0; 4];

fn key(kept: Kept) -> *mut c_void {
    (&raw const KEYS[kept as usize]).cast_mut().cast()
}

/// Raises the error, if the place is known, so that what arrives is the object on top of the stack. **longjmp**; asks for no memory but the array's, the message's and perhaps the stack's.
///
/// Whoever has set another message handler restores it when he catches the error.
///
/// Returns, with the stack as it was, if an error of any kind will do (the array is too large already, so whoever catches it gives back), or if nothing can be done.
///
/// # Safety
/// `l` is live, runs on this thread, in a hook of ours (so nothing yields before the error is caught), with hooks off, and has `LUA_MINSTACK` free slots. If the place of `errfunc` is known, the error object is
/// on top of its stack.
pub unsafe fn raise(state: &State, l: *mut lua_State) {
    let Some(Place(offset)) = state.layout.get().overflow else {
        return;
    };
    // SAFETY: the places were found inside a `lua_State`, and verified. The collector is stopped: it would run at the end of a call.
    unsafe {
        state.stop_collector();
        let calls = l.byte_add(offset).cast::<u16>();
        if calls.read() > MANY {
            calls.write(calls.read() - SPARE);
        }
        if l.byte_add(offset - SIZE).cast::<i32>().read() > deep::MOST_CALLS {
            deep::pass(state, l); // there has been such an error, which cannot be made up for
            return;
        }
        let top = sys::lua_gettop(l);
        if let Some(errfunc) = state.layout.get().errfunc {
            put_instead(state, l, l.byte_add(errfunc).cast());
        }
        get(l, Kept::Nothing);
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            let at = |before: usize| l.byte_add(offset - before).cast::<usize>();
            for _ in 0..MOST_DOUBLINGS {
                at(END).write(at(CI).read());
                sys::lua_pushvalue(l, -1);
                sys::lua_call(l, 0, 0); // raises in the end
            }
        }
        if let Some(errfunc) = state.layout.get().errfunc {
            l.byte_add(errfunc).cast::<isize>().write(0);
        }
        sys::lua_settop(l, top);
    }
}

/// Makes [`instead`] the message handler, and leaves it on the stack. `errfunc` is its place. If that cannot be done, the error that arrives is Lua's.
///
/// # Safety
/// As [`raise`]; the object is on top of the stack.
unsafe fn put_instead(state: &State, l: *mut lua_State, errfunc: *mut isize) {
    // SAFETY: by the caller. In `errfunc` is how far the handler is from the bottom of the stack, in bytes: what it is for this slot is asked of a protected call that has it for its handler,
    // and stays true while the stack moves.
    unsafe {
        get(l, Kept::Handler);
        let slot = sys::lua_gettop(l);
        let is_there = sys::lua_type(l, slot) == sys::LUA_TFUNCTION;
        // Where this very call finds the array full, and the next size is too large, it is the one that fails; after that there is room.
        for _ in 0..2 {
            get(l, Kept::Place);
            sys::lua_pushlightuserdata(l, errfunc.cast());
            // A poke that comes now may switch hooks on: then a stop would be raised in there, and caught.
            state.runs_ours.set(true);
            let asked = is_there && sys::lua_pcall(l, 1, 1, slot) == sys::LUA_OK;
            state.runs_ours.set(false);
            if asked {
                let place = sys::lua_tonumber(l, -1);
                sys::lua_settop(l, slot);
                sys::lua_pushlightuserdata(l, key(Kept::Object));
                sys::lua_pushvalue(l, slot - 1);
                sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
                errfunc.write(place as isize);
                return;
            }
            sys::lua_settop(l, slot);
        }
    }
}

/// Pushes what is kept.
///
/// # Safety
/// `l` is live, runs on this thread and has a free slot.
unsafe fn get(l: *mut lua_State, kept: Kept) {
    // SAFETY: by the caller. 5.1: a light userdata is a plain value.
    unsafe {
        sys::lua_pushlightuserdata(l, key(kept));
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
    }
}

unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}

/// The message handler in force, of which the place is the argument. It fits into a number: no stack has 2^53 bytes.
unsafe extern "C-unwind" fn place_of_handler(l: *mut lua_State) -> c_int {
    // SAFETY: `put_instead` passes the place, which was verified.
    unsafe {
        let errfunc = sys::lua_touserdata(l, 1).cast::<isize>();
        sys::lua_pushnumber(l, errfunc.read() as f64);
    }
    1
}

/// The message handler: what arrives is the error object that was kept, and is not kept any more.
unsafe extern "C-unwind" fn instead(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots. The key is in the registry since `plant`: setting it takes no memory.
    unsafe {
        get(l, Kept::Object);
        if sys::lua_type(l, -1) == sys::LUA_TBOOLEAN {
            sys::lua_settop(l, 1);
            return 1; // in the call that asks for the place: Lua's own message
        }
        sys::lua_pushlightuserdata(l, key(Kept::Object));
        sys::lua_pushboolean(l, 0);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    1
}

/// Whether the hook runs for the message handler: hooks are on there, if memory was asked for before. **Hook**.
///
/// # Safety
/// `l` runs our hook, and `ar` is what that got.
pub unsafe fn runs_handler(l: *mut lua_State, ar: *mut lua_Debug) -> bool {
    // SAFETY: by the caller; a hook has LUA_MINSTACK free slots.
    unsafe {
        sys::lua_getinfo(l, c"f".as_ptr(), ar);
        let function = sys::lua_tocfunction(l, -1);
        sys::lua_settop(l, -2);
        function.is_some_and(|f| f as usize == instead as *const () as usize)
    }
}

/// Keeps all of them. **longjmp**: may raise for lack of memory.
///
/// # Safety
/// `l` is live and has three free slots.
pub unsafe fn plant(l: *mut lua_State) {
    if !cfg!(feature = "lua51") {
        return;
    }
    let functions: [(Kept, sys::lua_CFunction); 3] = [
        (Kept::Nothing, nothing),
        (Kept::Place, place_of_handler),
        (Kept::Handler, instead),
    ];
    // SAFETY: by the caller.
    unsafe {
        for (kept, function) in functions {
            sys::lua_pushlightuserdata(l, key(kept));
            sys::lua_pushcfunction(l, function);
            sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        }
        sys::lua_pushlightuserdata(l, key(Kept::Object));
        sys::lua_pushboolean(l, 0);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
}

/// Forgets them.
///
/// # Safety
/// As [`plant`].
pub unsafe fn uproot(l: *mut lua_State) {
    if cfg!(feature = "lua51") {
        for kept in [Kept::Nothing, Kept::Place, Kept::Handler, Kept::Object] {
            // SAFETY: by the caller. 5.1: a light userdata is a plain value.
            unsafe { registry::forget(l, key(kept)) };
        }
    }
}

#[cfg(all(test, feature = "lua51"))]
mod tests;
