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
//! **Where they are**: in `lstate.h` of 5.1 each has its distance from `nCcalls`, which is found as other places are ([`crate::layout`]): the only `unsigned short` that is one more in a protected call. The distances
//! are believed only if what is there fits together in all samples: `ci` moves by one entry with each call, from `base_ci` to it and to `end_ci` are whole entries, and as many as the size says.

use super::deep;
use crate::layout::{Sample, word};
use crate::registry;
use crate::state::State;
use crate::sys::{self, lua_State};
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

/// Raises the error, if the place is known. **longjmp**; asks for no memory but the array's and the message's.
///
/// # Safety
/// `l` is live, runs on this thread, in a hook of ours (so nothing yields before the error is caught), and has `LUA_MINSTACK` free slots.
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
        sys::lua_pushlightuserdata(l, key());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        if l.byte_add(offset - SIZE).cast::<i32>().read() > deep::MOST_CALLS {
            deep::pass(state, l); // there has been such an error, which cannot be made up for
        }
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            let at = |before: usize| l.byte_add(offset - before).cast::<usize>();
            for _ in 0..MOST_DOUBLINGS {
                at(END).write(at(CI).read());
                sys::lua_pushvalue(l, -1);
                sys::lua_call(l, 0, 0); // raises in the end
            }
        }
        sys::lua_settop(l, -2);
    }
}

static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
    0
}

/// Keeps the function that is called, for making one takes memory. **longjmp**: may raise for lack of that.
///
/// # Safety
/// `l` is live and has three free slots.
pub unsafe fn plant(l: *mut lua_State) {
    if cfg!(feature = "lua51") {
        // SAFETY: by the caller.
        unsafe {
            sys::lua_pushlightuserdata(l, key());
            sys::lua_pushcfunction(l, nothing);
            sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        }
    }
}

/// Forgets it.
///
/// # Safety
/// As [`plant`].
pub unsafe fn uproot(l: *mut lua_State) {
    if cfg!(feature = "lua51") {
        // SAFETY: by the caller. 5.1: a light userdata is a plain value.
        unsafe { registry::forget(l, key()) };
    }
}
