//! LuaJIT: the same, on its frames.
//!
//! A `pcall` of LuaJIT's needs no C stack, in the main state neither. So `local function f() repeat pcall(f) until false end` is thousands of protected calls deep after a millisecond, and each is unwound by
//! itself: two walks over the C stack by the C library, 8 us. A thousand finalizers of that kind, each of which was two thousand calls deep until a delivery found it, held a call with a limit of 0.1 s for 20 s.
//!
//! What a stop does here: the frames that `pcall` and `xpcall` have made are marked as those of a vararg function. Both are passed by the same step (`frame_prevd`), but LuaJIT catches an error at the
//! former only (`err_unwind` in `lj_err.c`), and asks only these for a message handler. Nothing runs in these frames any more: the error is raised at once.
//!
//! **Up to where.** The frame that C code has made (`lua_call`, `lua_pcall`, a resume, an FFI callback), or the innermost [boundary](crate::glue) of a call with limits, which is Lua code that calls
//! `pcall`. A `pcall` that C code calls, not Lua, keeps its frame: who calls that relies on getting control back. (Not one that is the first function of a
//! coroutine, as after `return pcall(f)`: it would end the coroutine as if nothing had been.)
//!
//! **A frame** is two slots before a function's first: the function, and how to get to the frame of the caller. Its lowest three bits tell the kind ([`Kind`], `lj_frame.h`; the same in all
//! of 2.1 where values have 64 bits, `LJ_GC64`). Where a coroutine keeps its stack is found at run time ([`places`]).

mod places;
mod seen;

pub use places::learn;
pub use seen::{Seen, seen};

use crate::info;
use crate::state::State;
use crate::sys::{self, lua_Debug, lua_State};
use places::{PLACES, Places};
use std::ffi::c_int;

/// How a frame is linked to that of its caller: the lowest three bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Called by an instruction of Lua code, the address of which this is.
    Lua,
    /// Called by C code (also: protected, resumed).
    C,
    /// Called by a metamethod: what goes on afterwards is in two more slots.
    Continuation,
    /// The second frame of a vararg function.
    Vararg,
    /// Called by `pcall` or `xpcall`. (7: which were called with hooks off.)
    Protected,
}

/// What [`Kind::Vararg`] is.
const VARARG: usize = 3;

/// The lowest three bits.
const KIND: usize = 7;

/// `GCRef` in a value: without the type (`LJ_GCVMASK` in `lj_obj.h`).
const ADDRESS: usize = (1 << 47) - 1;

/// In the pointer to a C frame: it is a resume (`CFRAME_RESUME` in `lj_frame.h`).
const RESUME: usize = 1;

/// A frame: the address of its second slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Frame(*mut usize);

impl Frame {
    /// # Safety
    /// It is a frame of a live coroutine on this thread.
    unsafe fn link(self) -> usize {
        // SAFETY: by the caller.
        unsafe { self.0.read() }
    }

    /// # Safety
    /// As [`link`](Self::link).
    unsafe fn kind(self) -> Kind {
        // SAFETY: by the caller.
        match unsafe { self.link() } & KIND {
            0 | 4 => Kind::Lua,
            1 | 5 => Kind::C,
            2 => Kind::Continuation,
            VARARG => Kind::Vararg,
            _ => Kind::Protected,
        }
    }

    /// The function, by its address.
    ///
    /// # Safety
    /// As [`link`](Self::link).
    unsafe fn function(self) -> usize {
        // SAFETY: by the caller.
        unsafe { self.0.sub(1).read() & ADDRESS }
    }

    /// That of the caller.
    ///
    /// # Safety
    /// As [`link`](Self::link); it is not the lowest of its stack.
    unsafe fn previous(self) -> Frame {
        // SAFETY: by the caller. The address is behind the calling instruction, the second byte of which is the slot of what is called (`bc_a`).
        unsafe {
            let link = self.link();
            if self.kind() == Kind::Lua {
                let call = (link as *const u32).sub(1).read();
                Frame(self.0.wrapping_sub(2 + (call >> 8 & 0xff) as usize))
            } else {
                Frame(self.0.wrapping_byte_sub(link & !KIND))
            }
        }
    }

    /// Whether this continuation is that of an FFI callback (`LJ_CONT_FFI_CALLBACK`): C code has called it.
    ///
    /// # Safety
    /// As [`link`](Self::link); it is a [`Kind::Continuation`].
    unsafe fn is_callback(self) -> bool {
        // SAFETY: by the caller. What is to be done afterwards is the address of code, but for two small numbers.
        unsafe { (1..0x1000).contains(&self.0.sub(2).read()) }
    }
}

/// The stack of a coroutine.
#[derive(Clone, Copy)]
struct Stack {
    first: *mut usize,
    top: Frame,
}

impl Stack {
    /// None: what is there is not what `lua_getstack` says.
    ///
    /// # Safety
    /// `l` runs on this thread, in a hook or a C function.
    unsafe fn of(l: *mut lua_State, places: Places) -> Option<Stack> {
        // SAFETY: by the caller; the places were found inside a `lua_State`.
        unsafe {
            let word = |offset| l.byte_add(offset).cast::<*mut usize>().read();
            let (first, base) = (word(places.stack), word(places.base));
            let top = Frame(base.wrapping_sub(1));
            let stack = Stack { first, top };
            (stack.slot(top) & 0xffff == position(l, 0)?).then_some(stack)
        }
    }

    /// How many slots are below this frame.
    fn slot(self, frame: Frame) -> usize {
        frame.0.addr().wrapping_sub(self.first.addr()) / size_of::<usize>()
    }

    /// That of the caller; none: there is no other.
    ///
    /// # Safety
    /// As [`Frame::link`], of this stack.
    unsafe fn previous(self, frame: Frame) -> Option<Frame> {
        // SAFETY: by the caller. The lowest is a frame of the coroutine itself, in the second slot.
        unsafe {
            let previous = frame.previous();
            (previous < frame && previous.0 > self.first.wrapping_add(1)).then_some(previous)
        }
    }
}

/// Where the frame of the function at this level is, in slots from the first of the stack, in 16 bits (`lua_getstack` in `lj_debug.c`: the last field of `lua_Debug` is that, plus 65536 times the size of a frame).
/// None: there is no such function.
///
/// # Safety
/// `l` is a live coroutine on this thread.
unsafe fn position(l: *mut lua_State, level: c_int) -> Option<usize> {
    // SAFETY: by the caller. `lua_Debug` is plain data, of which zero is a value.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        if sys::lua_getstack(l, level, &mut ar) == 0 {
            return None;
        }
        Some(info::slot(&mut ar))
    }
}

/// Lets no `pcall` and no `xpcall` catch the error that is about to be raised in `l`: see the module's header. But for the outermost, if `keeps_one`.
///
/// # Safety
/// As [`super::pass`].
pub unsafe fn pass(state: &State, l: *mut lua_State, keeps_one: bool) {
    if let Some(Some(places)) = PLACES.get() {
        // SAFETY: by the caller.
        unsafe {
            let resumed = is_resumed(state, l);
            pass_up_to(l, *places, resumed, state.glue.boundary(), keeps_one);
        }
    }
}

/// Whether no message handler will be called for an error that is raised in `l`, after [`pass`].
///
/// # Safety
/// As [`super::pass`].
pub unsafe fn will_be_unseen(state: &State, l: *mut lua_State) -> bool {
    let Some(Some(places)) = PLACES.get() else {
        return false;
    };
    // SAFETY: by the caller. Nothing is done to the frames.
    unsafe {
        let resumed = is_resumed(state, l);
        match for_each_protected(l, *places, resumed, state.glue.boundary(), |_| {}) {
            End::Boundary => true, // a `pcall`
            End::Bottom => resumed,
            End::Unknown => false,
        }
    }
}

/// Whether what runs in `l` was begun by a resume, not by a call from C. In doubt, no.
///
/// # Safety
/// As [`super::pass`].
unsafe fn is_resumed(state: &State, l: *mut lua_State) -> bool {
    // SAFETY: by the caller; the word was found inside a `lua_State`.
    let frame = |cframe| unsafe { l.byte_add(cframe).cast::<usize>().read() };
    let jump = state.layout.get().jump;
    jump.is_some_and(|cframe| frame(cframe) & RESUME != 0)
}

/// What [`pass`] does, up to what the function with the address `boundary` protects, if that is not 0.
///
/// # Safety
/// As [`super::pass`].
unsafe fn pass_up_to(
    l: *mut lua_State,
    places: Places,
    resumed: bool,
    boundary: usize,
    keeps_one: bool,
) {
    let mut outermost = None;
    // SAFETY: by the caller: nothing runs in these frames any more, and whoever walks over them finds the same callers.
    unsafe {
        for_each_protected(l, places, resumed, boundary, |frame| {
            let link = frame.link();
            frame.0.write(link & !KIND | VARARG);
            outermost = Some((frame, link));
        });
        if let Some((frame, link)) = outermost.filter(|_| keeps_one) {
            frame.0.write(link);
        }
    }
}

/// Where a walk has ended.
enum End {
    /// At what a boundary has called.
    Boundary,
    /// At a coroutine's first function, or one that C code has called where nothing else runs.
    Bottom,
    /// At C code, or at once.
    Unknown,
}

/// Calls `f` for each frame by which Lua code has called a function in protected mode, from the innermost on. `resumed`: what is at the bottom was begun by a resume, so a `pcall` there
/// is the script's, too: the tail call of a coroutine's first function, or that function itself.
///
/// # Safety
/// As [`super::pass`].
unsafe fn for_each_protected(
    l: *mut lua_State,
    places: Places,
    resumed: bool,
    boundary: usize,
    mut f: impl FnMut(Frame),
) -> End {
    // SAFETY: by the caller: from the function that runs now, each frame leads to that which has called it. They stay while `l` runs this.
    unsafe {
        let Some(stack) = Stack::of(l, places) else {
            return End::Unknown;
        };
        let mut at = Some(stack.top);
        while let Some(frame) = at {
            at = stack.previous(frame);
            match frame.kind() {
                Kind::C if at.is_none() => return End::Bottom,
                Kind::C => return End::Unknown,
                Kind::Continuation if frame.is_callback() => return End::Unknown,
                Kind::Protected => {
                    let Some(pcall) = at else {
                        return End::Unknown;
                    };
                    let caller = stack.previous(pcall);
                    if pcall.kind() == Kind::C {
                        if resumed && caller.is_none() {
                            f(frame);
                            return End::Bottom;
                        }
                        return End::Unknown;
                    }
                    if boundary != 0 && caller.is_some_and(|caller| caller.function() == boundary) {
                        return End::Boundary;
                    }
                    f(frame);
                }
                _ => {}
            }
        }
    }
    End::Unknown
}

#[cfg(all(test, feature = "luajit"))]
mod tests;
