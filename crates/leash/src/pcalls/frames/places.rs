//! Where a coroutine of LuaJIT's keeps its stack and the running function's first slot.
//!
//! Found at run time, once for the process: two words of a `lua_State` that agree with `lua_getstack` in each of a number of calls. Then a walk by the rules of
//! [the module above](super) must find the very frames that `lua_getstack` tells, in calls of every kind. If not, or if values are smaller than 64 bits, there
//! are no places: nothing is touched, and stops take their time.

use super::{KIND, Kind, Stack, position};
use crate::sys::{self, lua_Debug, lua_State};
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::OnceLock;

/// Offsets in a `lua_State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The first slot of the function that runs.
    pub base: usize,
    /// The first slot of the stack.
    pub stack: usize,
}

/// None: they were not found.
pub static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// Finds the places, unless that has been done.
pub fn learn() {
    if size_of::<usize>() != 8 || PLACES.get().is_some() {
        return;
    }
    // SAFETY: a state of our own. What is called gets what it takes, and an error in it is caught.
    let found = unsafe {
        let l = sys::luaL_newstate();
        if l.is_null() {
            return; // another attach may have more luck
        }
        let mut look = Look::default();
        let status = sys::protected(l, take_samples, (&raw mut look).cast());
        sys::lua_close(l);
        // Not for want of memory: another attach may have more luck.
        (status == sys::LUA_OK).then(|| look.verified())
    };
    if let Some(found) = found {
        let _ = PLACES.set(found); // another thread has found the same
    }
}

/// Words of a `lua_State` that are looked at; a main state is part of a larger block.
const WORDS: usize = 16;

/// Calls that are looked at.
const SAMPLES: usize = 12;

/// Kinds of frames that must have been met in a walk: those with bits 0 or 4, 1, 2, 3, 6, 7.
const ALL_KINDS: u8 = 0b1100_1111;

/// What has been seen in the calls of [`TEXT`].
#[derive(Default)]
struct Look {
    /// Words of the state, and where the running function's frame is.
    samples: [Cell<([usize; WORDS], usize)>; SAMPLES],
    taken: Cell<usize>,
    /// While the second round is made.
    places: Cell<Option<Places>>,
    /// The kinds of frames that were walked over, one bit for each.
    kinds: Cell<u8>,
    differs: Cell<bool>,
}

impl Look {
    /// The two words that fit.
    fn places(&self) -> Option<Places> {
        let samples = &self.samples[..self.taken.get()];
        let (first, at) = samples.first()?.get();
        let differ = samples.iter().any(|s| s.get().1 != at);
        let mut found =
            (0..WORDS * WORDS)
                .map(|i| (i / WORDS, i % WORDS))
                .filter(|&(base, stack)| {
                    samples.iter().all(|s| {
                        let (words, at) = s.get();
                        words[stack] == first[stack]
                            && words[base].wrapping_sub(words[stack])
                                == (at + 1) * size_of::<usize>()
                    })
                });
        let (base, stack) = found.next()?;
        let only = found.next().is_none() && differ;
        only.then_some(Places {
            base: base * size_of::<usize>(),
            stack: stack * size_of::<usize>(),
        })
    }

    /// If all has been walked over, and rightly.
    fn verified(&self) -> Option<Places> {
        let right = !self.differs.get() && self.kinds.get() == ALL_KINDS;
        self.places.get().filter(|_| right)
    }
}

/// Calls `look` by instructions of every kind, at many depths. `inside` runs `all` in a hook.
const TEXT: &CStr = c"local look, inside, setmetatable, pcall, xpcall = ...
local odd = setmetatable({}, {
  __index = function(t, k) return (look(k, 1)) end,
  __add = function(a, b) look() return b end,
  __call = look,
})
local function varied(...) look(...) return ... end
local function deep(n) if n > 0 then return (deep(n - 1)) end odd(1) varied(1, 2, 3) end
function all()
  look(1, 2, 3, 4)
  local a, b, c = 1, 2, odd[1]
  a = odd + b
  pcall(varied, 1, odd.x)
  pcall(pcall, xpcall, varied, look, 5)
  xpcall(function() for i in look do break end deep(4) pcall(look) end, look)
end
all()
inside(all)";

/// Takes all samples, twice: to find the places, and to see whether a walk by them finds what is there. **longjmp**: may raise; nothing here owns anything.
unsafe extern "C-unwind" fn take_samples(l: *mut lua_State) -> c_int {
    // SAFETY: `learn` passes what it looks with, which lives in its frame. A C function has LUA_MINSTACK free slots. The stack is large enough before the first sample, so it stays where it is.
    unsafe {
        let ud = sys::lua_touserdata(l, 1);
        let look = &*ud.cast::<Look>();
        sys::luaL_checkstack(l, 1000, ptr::null());
        sys::lua_pushcfunction(l, sys::luaopen_base);
        sys::lua_call(l, 0, 0);
        for _ in 0..2 {
            let text = TEXT.to_bytes();
            if sys::luaL_loadbuffer(l, text.as_ptr().cast(), text.len(), c"=leash".as_ptr()) != 0 {
                sys::lua_error(l);
            }
            sys::lua_pushlightuserdata(l, ud);
            sys::lua_pushcclosure(l, look_around, 1);
            sys::lua_pushcfunction(l, run_in_a_hook);
            for name in [c"setmetatable", c"pcall", c"xpcall"] {
                sys::lua_getglobal(l, name.as_ptr());
            }
            sys::lua_call(l, 5, 0);
            look.places.set(look.places());
        }
    }
    0
}

/// In the first round: takes a sample. In the second: walks, and compares.
unsafe extern "C-unwind" fn look_around(l: *mut lua_State) -> c_int {
    // SAFETY: a closure of `take_samples`. Its state is a main state, which is larger than what is read.
    unsafe {
        let look = &*sys::lua_touserdata(l, sys::lua_upvalueindex(1)).cast::<Look>();
        match look.places.get() {
            Some(places) => {
                if !walks_rightly(l, places, look) {
                    look.differs.set(true);
                }
            }
            None => {
                let n = look.taken.get();
                if n < SAMPLES
                    && let Some(at) = position(l, 0)
                {
                    look.samples[n].set((l.cast::<[usize; WORDS]>().read(), at));
                    look.taken.set(n + 1);
                }
            }
        }
    }
    0
}

/// Whether a walk finds the frames that `lua_getstack` tells. That does not count the second one of a vararg function.
///
/// # Safety
/// As [`Stack::of`].
unsafe fn walks_rightly(l: *mut lua_State, places: Places, look: &Look) -> bool {
    // SAFETY: by the caller.
    unsafe {
        let Some(stack) = Stack::of(l, places) else {
            return false;
        };
        let (mut at, mut level, mut counts) = (Some(stack.top), 0, true);
        while let Some(frame) = at {
            if counts {
                let here = frame.0.offset_from(stack.first);
                if position(l, level).and_then(|at| isize::try_from(at).ok()) != Some(here) {
                    return false;
                }
                level += 1;
            }
            let bits = match frame.kind() {
                Kind::Lua => 0, // the fourth bit is one of the address
                Kind::C => 1,
                _ => frame.link() & KIND,
            };
            look.kinds.set(look.kinds.get() | 1 << bits);
            counts = frame.kind() != Kind::Vararg;
            at = stack.previous(frame);
        }
        position(l, level).is_none()
    }
}

/// `inside(f)`: calls `f` in a hook.
unsafe extern "C-unwind" fn run_in_a_hook(l: *mut lua_State) -> c_int {
    unsafe extern "C-unwind" fn hook(l: *mut lua_State, _: *mut lua_Debug) {
        // SAFETY: in a hook, which has LUA_MINSTACK free slots.
        unsafe {
            sys::lua_sethook(l, None, 0, 0);
            sys::lua_getglobal(l, c"all".as_ptr());
            sys::lua_call(l, 0, 0);
        }
    }
    // SAFETY: called by `TEXT` in a state of our own. What is called has an instruction.
    unsafe {
        sys::lua_sethook(l, Some(hook), sys::LUA_MASKCOUNT, 1);
        sys::lua_call(l, 0, 0);
        sys::lua_sethook(l, None, 0, 0);
    }
    0
}
