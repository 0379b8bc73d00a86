//! Places inside a `lua_State`, found at run time.
//!
//! Most of Leash needs the C API alone. A few facts it does not tell, and no header may be trusted for (hosts build Lua with their
//! own settings): so each place is found by watching what known calls do to the bytes of a state, must be the only place that
//! fits, and is `None` otherwise. What depends on it then takes the way around that is named here.
//!
//! | place | what it is | found by | used for | without it |
//! |---|---|---|---|---|
//! | `errfunc` | stack offset of the message handler in force | is 0 in `lua_pcall(.., 0)`, grows by one slot with each index | an error of ours must not call the script's handler: inside a hook it would run with hooks off, and could loop for ever | the allocator fails once: a memory error calls no handler (manual of `lua_pcall`), but from 5.2 on costs a full collection |
//! | `allowhook` | whether hooks run | is 1 outside a hook, 0 inside | ending an endless finalizer or user hook | such code outlives its limit (`leash run` then ends the process) |
//! | `hookmask` | LuaJIT's `allowhook`, of the whole state | [`crate::hookmask`] | the same | the same |
//! | `oldpc` | 5.2 and 5.3: the last instruction whose line was looked at | comes next to the pointer to the function that runs, which `lua_getstack` tells | our hook is set without changing it ([`crate::hook::oldpc`]) | it is changed, and lines may be read from anywhere |
//! | `overflow` | 5.1: the number of C calls, and the array of all calls before it | [`overflow::candidates`] | a stop that is seen behind each `pcall` of a finalizer | one that catches errors in a loop outlives its limit |
//! | `jump` | the innermost C frame that catches errors (`errorJmp`, LuaJIT `cframe`) | points into the C stack between two frames of ours | the order in which coroutines resumed each other, for tracebacks | only the running coroutine is shown |
//!
//! Rejected: struct definitions for each version. There are LuaJIT's two pointer sizes, distributions' patches and
//! `LUAI_EXTRASPACE`; a wrong guess would write into somebody's memory.

use crate::hookless::overflow;
use crate::hookmask;
use crate::state::State;
use crate::sys::{self, lua_State};
use std::ffi::{c_int, c_void};

/// What was found: offsets in bytes from the `lua_State` pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// A `ptrdiff_t`.
    pub errfunc: Option<usize>,
    /// A byte.
    pub allowhook: Option<usize>,
    /// A pointer, the low bits of which may be flags.
    pub jump: Option<usize>,
    /// 5.2 and 5.3 only: a pointer. (It is written only with what was read there before `lua_sethook`, which changes it, the hook, its mask and its counts. So any other field would keep its
    /// value; were it one of the latter, which it is in no release, our hook would not be set.)
    pub oldpc: Option<usize>,
    /// LuaJIT: a byte behind the main state.
    pub hookmask: Option<usize>,
    /// 5.1 only.
    pub overflow: Option<overflow::Place>,
    /// 5.1 only: the pointer to the global state, by which a coroutine is recognised.
    pub global: Option<usize>,
}

impl Layout {
    /// The address of the frame that runs `co`; zero while it does not run.
    ///
    /// # Safety
    /// `co` is a live coroutine or a zeroed block of its size, on this thread.
    pub unsafe fn jump_of(&self, co: *mut lua_State) -> Option<usize> {
        // SAFETY: the offset was found inside a `lua_State`; by the caller `co` is as large.
        self.jump
            .map(|off| unsafe { co.byte_add(off).cast::<usize>().read() } & !7)
    }
}

/// No `lua_State` that we know is larger, in bytes.
pub const LARGEST_STATE: usize = 512;

/// Bytes of one state at one moment.
pub type Sample = Vec<u8>;

/// What the C functions below share; reached through a light userdata.
struct Learner {
    /// How much of a state may be read.
    size: usize,
    /// A frame that all samples are taken below of.
    floor: usize,
    plain: Vec<Sample>,
    with_handler: Vec<Sample>,
    in_hook: Vec<Sample>,
    /// Addresses of a local of the sampling function.
    frames: Vec<usize>,
    /// The function that runs, of each plain sample.
    callers: Vec<usize>,
}

/// Finds the places, and how a coroutine shows in the allocator: fills `state.coroutine_size`, `coroutine_offset` and `layout`.
/// A status other than 0 is a Lua error (out of memory), whose object is on the stack.
///
/// # Safety
/// The state is attached (our allocator is in force), runs on this thread, is not inside a hook, and `l` has free stack.
pub unsafe fn learn(state: &State, l: *mut lua_State) -> c_int {
    let mut ud = (state as *const State, Layout::default());
    state.learning.set(true);
    // SAFETY: `find_coroutine` takes this pair.
    let status = unsafe { sys::protected(l, find_coroutine, (&raw mut ud).cast()) };
    state.learning.set(false);
    if status != 0 {
        return status;
    }
    let mut layout = ud.1;
    // All vectors have their room before Lua is called: a sampling function neither allocates nor frees while an error could
    // jump over it, and no error is raised there anyway.
    let room = || (0..8).map(|_| Vec::with_capacity(512)).collect::<Vec<_>>();
    let mut learner = Learner {
        size: state.coroutine_size.get() - state.coroutine_offset.get(),
        floor: 0,
        plain: room(),
        with_handler: room(),
        in_hook: room(),
        frames: Vec::with_capacity(8),
        callers: Vec::with_capacity(8),
    };
    learner.floor = (&raw const learner) as usize;
    if learner.size > LARGEST_STATE {
        state.layout.set(layout);
        return 0; // believe nothing
    }
    let saved = crate::coroutines::SavedHook {
        // SAFETY: by the caller.
        ..unsafe { crate::coroutines::SavedHook::of(l) }
    };
    // SAFETY: `take_samples` takes a learner, `prepare` a layout.
    let status = unsafe {
        match sys::protected(l, take_samples, (&raw mut learner).cast()) {
            0 => sys::protected(l, prepare, (&raw mut layout).cast()),
            status => status,
        }
    };
    // SAFETY: by the caller.
    unsafe { sys::set_hook(l, saved.hook, saved.mask, saved.count) };
    if status == 0 {
        if sys::HOOK_PER_COROUTINE && !learner.in_hook[1].is_empty() {
            layout.errfunc = only(errfunc_candidates(&learner));
            layout.allowhook = only(allowhook_candidates(&learner));
        }
        layout.jump = only(jump_candidates(&learner));
        if cfg!(feature = "lua51") {
            layout.overflow = only(overflow::candidates(&learner.plain, &learner.with_handler));
        }
        if cfg!(any(feature = "lua52", feature = "lua53")) {
            layout.oldpc = only(oldpc_candidates(&learner));
        }
    }
    state.layout.set(layout);
    status
}

fn only<T>(mut candidates: impl Iterator<Item = T>) -> Option<T> {
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first)
}

pub fn word(sample: &[u8], offset: usize) -> usize {
    let bytes = sample[offset..offset + size_of::<usize>()].try_into();
    usize::from_ne_bytes(bytes.expect("eight bytes"))
}

fn words(size: usize) -> impl Iterator<Item = usize> {
    (0..=size - size_of::<usize>()).step_by(size_of::<usize>())
}

fn errfunc_candidates(s: &Learner) -> impl Iterator<Item = usize> {
    words(s.size).filter(|&o| {
        let step = word(&s.with_handler[1], o).wrapping_sub(word(&s.with_handler[0], o));
        s.plain.iter().all(|p| p.is_empty() || word(p, o) == 0)
            && (1..=64).contains(&step)
            && s.with_handler
                .windows(2)
                .filter(|w| !w[1].is_empty())
                .all(|w| word(&w[1], o).wrapping_sub(word(&w[0], o)) == step)
    })
}

fn allowhook_candidates(s: &Learner) -> impl Iterator<Item = usize> {
    (0..s.size).filter(|&o| {
        let all =
            |samples: &[Sample], v: u8| samples.iter().filter(|p| !p.is_empty()).all(|p| p[o] == v);
        all(&s.plain, 1) && all(&s.with_handler, 1) && all(&s.in_hook, 0)
    })
}

fn jump_candidates(s: &Learner) -> impl Iterator<Item = usize> {
    // The first samples were taken deeper in the C stack than the last. A word that Lua has not set yet (in 5.2 and 5.3 fields of
    // `base_ci`) may hold a stale pointer into the same stack, but keeps it.
    let taken: Vec<_> = s.plain.iter().filter(|p| !p.is_empty()).collect();
    words(s.size).filter(move |&o| {
        let at = |p: &Sample| word(p, o) & !7;
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else {
            return false;
        };
        at(first) != at(last)
            && taken
                .iter()
                .zip(&s.frames)
                .all(|(p, &frame)| (frame..s.floor).contains(&at(p)))
    })
}

/// Behind the word that holds the function that runs, in all samples.
fn oldpc_candidates(s: &Learner) -> impl Iterator<Item = usize> {
    let taken: Vec<_> = s.plain.iter().filter(|p| !p.is_empty()).collect();
    let is_caller = move |o: usize| {
        let mut samples = taken.iter().zip(&s.callers);
        !s.callers.is_empty() && samples.all(|(p, &caller)| word(p, o) == caller)
    };
    words(s.size)
        .filter(move |&o| is_caller(o))
        .map(|o| o + size_of::<usize>())
        .filter(|&o| o + size_of::<usize>() <= s.size)
}

/// Makes a coroutine and looks which block of the allocator holds it. 5.1: also where the pointer to the global state is, the
/// first word that a coroutine and the state that made it share (`lstate.h`: header, status, top, base, l_G).
///
/// **longjmp**: `lua_newthread` may raise; nothing here owns anything.
unsafe extern "C-unwind" fn find_coroutine(l: *mut lua_State) -> c_int {
    // SAFETY: `learn` passed this pair, which lives in its frame.
    let (state, layout) = unsafe {
        let ud = sys::lua_touserdata(l, 1).cast::<(*const State, Layout)>();
        (&*(*ud).0, &mut (*ud).1)
    };
    // SAFETY: a C function has LUA_MINSTACK free slots.
    let co = unsafe { sys::lua_newthread(l) };
    if let Some((block, size)) = state.block_of(co as usize) {
        state.coroutine_size.set(size);
        state.coroutine_offset.set(co as usize - block);
    }
    if cfg!(feature = "lua51") && state.coroutine_size.get() != usize::MAX {
        let size = state.coroutine_size.get();
        for o in (2 * size_of::<usize>()..size - size_of::<usize>()).step_by(size_of::<usize>()) {
            // SAFETY: both are `lua_State`s, at least `size` bytes large (the main state is part of a larger block).
            let (a, b) = unsafe {
                (
                    co.byte_add(o).cast::<usize>().read(),
                    l.byte_add(o).cast::<usize>().read(),
                )
            };
            if a == b && a != 0 {
                layout.global = Some(o);
                break;
            }
        }
    }
    // Coroutines that are older than us: the collector's list starts at the one that was just made.
    // SAFETY: the list is walked on the state's own thread, between two operations of Lua.
    unsafe { crate::older::adopt(state, co) };
    0
}

/// What else [`crate::hookless`] needs. **longjmp**: may raise; nothing here owns anything.
unsafe extern "C-unwind" fn prepare(l: *mut lua_State) -> c_int {
    // SAFETY: `learn` passed a layout, which lives in its frame, and saves the hook. A C function has LUA_MINSTACK free slots.
    unsafe {
        let layout = &mut *sys::lua_touserdata(l, 1).cast::<Layout>();
        if cfg!(feature = "luajit") {
            // Our allocator, by which the state is found, is in force. `l` may be any coroutine.
            layout.hookmask =
                crate::hook::state_of(l).and_then(|state| hookmask::find(l, state.main.get()));
        }
        overflow::plant(l);
    }
    0
}

/// A sample that could not be taken, for want of memory, must not make a place unknown. **longjmp**: raises the error that a protected call has
/// left.
unsafe fn pass_on(l: *mut lua_State, status: c_int) {
    if status != 0 {
        // SAFETY: by the callers, in a C function, in which nothing owns anything.
        unsafe { sys::lua_error(l) };
    }
}

/// **longjmp**. `luaL_checkstack` speaks of a stack overflow whatever the reason.
unsafe fn make_room(l: *mut lua_State, slots: c_int) {
    // SAFETY: as above.
    unsafe {
        if sys::lua_checkstack(l, slots) == 0 {
            sys::lua_pushstring(
                l,
                c"not enough memory, or too many values on the Lua stack".as_ptr(),
            );
            sys::lua_error(l);
        }
    }
}

unsafe extern "C-unwind" fn take_samples(l: *mut lua_State) -> c_int {
    // SAFETY: every call below is the documented use of the C API inside a C function; the stack is checked for first.
    unsafe {
        let ud = sys::lua_touserdata(l, 1);
        make_room(l, 24);
        for _ in 0..6 {
            // The handler's index grows by one each time, and so does the stack offset that `errfunc` holds.
            sys::lua_pushcfunction(l, no_handler);
            let handler = sys::lua_gettop(l);
            sys::lua_pushcfunction(l, sample_with_handler);
            sys::lua_pushlightuserdata(l, ud);
            pass_on(l, sys::lua_pcall(l, 1, 0, handler));
        }
        // The rest twice, at two depths of calls, so that no byte of a pointer or a counter keeps its value by chance.
        sys::lua_pushcfunction(l, take_plain_samples);
        sys::lua_pushlightuserdata(l, ud);
        pass_on(l, sys::lua_pcall(l, 1, 0, 0));
        sys::lua_pushlightuserdata(l, ud);
        sys::lua_insert(l, 1);
    }
    // SAFETY: `l` has the learner as its first value.
    unsafe { take_plain_samples(l) }
}

unsafe extern "C-unwind" fn take_plain_samples(l: *mut lua_State) -> c_int {
    // SAFETY: as in `take_samples`. Each round has one more value on the stack.
    unsafe {
        let ud = sys::lua_touserdata(l, 1);
        make_room(l, 12);
        for mask in [
            sys::LUA_MASKCALL,
            sys::MASK_ALL,
            sys::LUA_MASKCALL | sys::LUA_MASKRET,
        ] {
            sys::lua_pushcfunction(l, sample_plain);
            sys::lua_pushlightuserdata(l, ud);
            pass_on(l, sys::lua_pcall(l, 1, 0, 0));
            if sys::HOOK_PER_COROUTINE {
                sys::lua_sethook(l, Some(sample_in_hook), mask, 1);
                sys::lua_pushcfunction(l, keep_argument);
                sys::lua_pushlightuserdata(l, ud);
                let status = sys::lua_pcall(l, 1, 0, 0);
                sys::lua_sethook(l, None, 0, 0);
                pass_on(l, status);
            }
            sys::lua_pushboolean(l, 1);
        }
    }
    0
}

unsafe extern "C-unwind" fn no_handler(_: *mut lua_State) -> c_int {
    1
}

#[inline(never)] // compared by address: it must have one
unsafe extern "C-unwind" fn keep_argument(_: *mut lua_State) -> c_int {
    0
}

unsafe extern "C-unwind" fn sample_plain(l: *mut lua_State) -> c_int {
    let here = 0u8;
    // SAFETY: `take_samples` passes the learner; `size` bytes of a state are readable.
    unsafe {
        let s = &mut *sys::lua_touserdata(l, 1).cast::<Learner>();
        copy(l, s.size, &mut s.plain);
        s.frames.push((&raw const here) as usize);
        s.callers.push(sys::frame(l, 0) as usize);
    }
    0
}

unsafe extern "C-unwind" fn sample_with_handler(l: *mut lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        let s = &mut *sys::lua_touserdata(l, 1).cast::<Learner>();
        copy(l, s.size, &mut s.with_handler);
    }
    0
}

unsafe extern "C-unwind" fn sample_in_hook(l: *mut lua_State, ar: *mut sys::lua_Debug) {
    // SAFETY: at a call event of `keep_argument`, its argument, the learner, is the frame's first value. Other events
    // (the return, and calls of other functions) have something else there or nothing.
    unsafe {
        if (*ar).event != sys::LUA_HOOKCALL || sys::lua_getinfo(l, c"f".as_ptr(), ar) == 0 {
            return;
        }
        let ours = sys::lua_tocfunction(l, -1)
            .is_some_and(|f| f as *const c_void == keep_argument as *const c_void);
        sys::lua_settop(l, -2);
        if !ours || sys::lua_getlocal(l, ar, 1).is_null() {
            return;
        }
        let s = sys::lua_touserdata(l, -1).cast::<Learner>();
        sys::lua_settop(l, -2);
        if let Some(s) = s.as_mut() {
            copy(l, s.size, &mut s.in_hook);
        }
    }
}

/// Copies a state's bytes into the first empty sample, which has the room.
unsafe fn copy(l: *mut lua_State, size: usize, samples: &mut [Sample]) {
    if let Some(s) = samples.iter_mut().find(|s| s.is_empty()) {
        for i in 0..size {
            // SAFETY: inside the `lua_State`. Volatile: padding and fields that the compiler knows nothing of.
            s.push(unsafe { l.cast::<u8>().add(i).read_volatile() });
        }
    }
}
