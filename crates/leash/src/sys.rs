//! What differs between the Lua versions: all of it, and nowhere else.
//!
//! The rest of the crate is written against one Lua. This file is that Lua: it re-exports the C API of the engine that the
//! cargo feature chose and gives one form to the calls whose shape, meaning or mere presence changed from 5.1 to 5.5 and
//! LuaJIT. A difference that is a fact (how a new coroutine shows in the allocator, whether hooks belong to a coroutine or to
//! the whole state) is a constant with its source, so that the code that depends on it reads as a statement. What only LuaJIT has, its compiler
//! and its profiler, is in [`compiler`].
//!
//! | fact | 5.1 | 5.2 | 5.3 | 5.4 | 5.5 | LuaJIT |
//! |---|---|---|---|---|---|---|
//! | a hook belongs to | coroutine | coroutine | coroutine | coroutine | coroutine | state |
//! | a new coroutine is told by | size | type | type | type | type | - |
//! | an allocation that fails collects first | no | yes | yes | yes | yes | no |
//! | compiled code that ignores hooks | no | no | no | no | no | yes |
//! | a coroutine can be closed | no | no | no | yes | yes | no |
//! | a coroutine can close itself | no | no | no | no | yes | no |
//! | long strings keep the allocator | no | no | no | no | yes | no |

mod chunk;
mod compiler;

use std::ffi::{CStr, c_char, c_int, c_void};

pub use chunk::{load, set_environment};
pub use compiler::*;
pub use mlua_sys::*;

#[cfg(not(any(
    feature = "lua51",
    feature = "lua52",
    feature = "lua53",
    feature = "lua54",
    feature = "lua55",
    feature = "luajit"
)))]
compile_error!("choose the engine: one of the features lua51 lua52 lua53 lua54 lua55 luajit");

#[cfg(all(feature = "luajit", panic = "abort"))]
compile_error!(
    "LuaJIT unwinds through Rust frames, which a program built with panic = \"abort\" does not survive: use panic = \"unwind\""
);

/// A script can close a coroutine, and sees the error that has ended it (`coroutine.close`).
pub const CLOSES_COROUTINES: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// The engine's one name, as in cargo features, folders and messages.
pub const ENGINE: &str = if cfg!(feature = "lua51") {
    "lua51"
} else if cfg!(feature = "lua52") {
    "lua52"
} else if cfg!(feature = "lua53") {
    "lua53"
} else if cfg!(feature = "lua54") {
    "lua54"
} else if cfg!(feature = "lua55") {
    "lua55"
} else {
    "luajit"
};

/// LuaJIT keeps one hook for the whole state (`g->hookf`); PUC Lua one for each coroutine (`L->hook`).
pub const HOOK_PER_COROUTINE: bool = !cfg!(feature = "luajit");

/// From 5.2 on, the manual of `lua_Alloc` promises: for a new object, `osize` is its type.
pub const ALLOC_TELLS_TYPE: bool = !cfg!(any(feature = "lua51", feature = "luajit"));

/// 5.5: what a string buffer returns is an external string (`luaL_pushresult`, `lua_pushexternalstring`), which keeps the allocator and its user data
/// of that moment, and is freed by them.
pub const STRINGS_KEEP_ALLOCATOR: bool = cfg!(feature = "lua55");

/// 5.5: `coroutine.close()` without an argument closes the running coroutine, and jumps over all its protected calls to the resume
/// (`luaD_throwbaselevel`).
pub const CLOSES_ITSELF: bool = cfg!(feature = "lua55");

/// From 5.2 on, and on LuaJIT, `pcall` is no obstacle to a yield. (`lua_pcall` still is; see [`pcall_across_yields`].)
pub const YIELDS_ACROSS_CALLS: bool = !cfg!(feature = "lua51");

/// From 5.2 on, `luaM_realloc_` runs a full collection when the allocator refuses, and asks once more.
pub const COLLECTS_WHEN_REFUSED: bool = ALLOC_TELLS_TYPE;

/// Whether it does so now: 5.2 and 5.3 do not while the script has stopped the collector (`g->gcrunning`).
///
/// # Safety
/// `l` is a live state on its own thread. Allowed inside the allocator: it reads a flag.
pub unsafe fn collects_when_refused(l: *mut lua_State) -> bool {
    if cfg!(any(feature = "lua52", feature = "lua53")) {
        // SAFETY: by the caller.
        unsafe { gc(l, COLLECTOR_IS_RUNNING) != 0 }
    } else {
        COLLECTS_WHEN_REFUSED
    }
}

/// Late releases of 5.4, and 5.5, neither collect nor ask again when they are refused memory for a stack: see [`crate::memory`].
pub const MAY_ASK_ONCE_FOR_STACK: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// Every event that we can have: whatever the state does next, it meets the hook.
pub const MASK_ALL: c_int = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;

/// `lua_gc`'s question whether the collector runs (5.1 cannot tell, but never gets here: it finds its `errfunc`).
#[cfg(not(feature = "lua51"))]
pub const COLLECTOR_IS_RUNNING: c_int = if cfg!(feature = "luajit") {
    9 // `lua.h` of LuaJIT 2.1; the bindings lack it
} else {
    COLLECTOR_IS_RUNNING_PUC
};
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
const COLLECTOR_IS_RUNNING_PUC: c_int = LUA_GCISRUNNING;
#[cfg(feature = "luajit")]
const COLLECTOR_IS_RUNNING_PUC: c_int = 9;
/// 5.1 has no such question: its count is never zero, so it counts as running.
#[cfg(feature = "lua51")]
pub const COLLECTOR_IS_RUNNING: c_int = LUA_GCCOUNT;

/// Turns a function item into the C API's callback type, in one place.
pub type Hook = lua_Hook;

/// `lua_sethook`, which returns an `int` in 5.1 and 5.2. Safe in a signal handler on the state's own thread: it stores four
/// words (and from 5.4 on sets a flag in each `CallInfo`).
///
/// # Safety
/// `l` is a live, initialised coroutine; the caller runs on the thread that owns it.
#[inline]
pub unsafe fn set_hook(l: *mut lua_State, hook: Option<Hook>, mask: c_int, count: c_int) {
    // SAFETY: by the caller. LuaJIT's `lj_dispatch_update` rebuilds its table only when the mode changes, so going through
    // "off" heals a table that an interrupted update has left half done.
    unsafe {
        if cfg!(feature = "luajit") {
            lua_sethook(l, None, 0, 0);
        }
        lua_sethook(l, hook, mask, count);
    }
}

/// Calls `f(l)` in protected mode with `ud` as its only argument, a light userdata, without allocating before the protection
/// is in force. Returns the status; an error leaves its object on the stack, as `lua_pcall` does.
///
/// # Safety
/// `l` is live, runs on this thread and has three free stack slots; `ud` is what `f` expects.
pub unsafe fn protected(l: *mut lua_State, f: lua_CFunction, ud: *mut c_void) -> c_int {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    // SAFETY: by the caller. `lua_cpcall` makes the closure inside the protection; a C function is an object here.
    unsafe {
        lua_cpcall(l, f, ud)
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller. Light C functions and light userdata are plain values: pushing them allocates nothing.
    unsafe {
        lua_pushcfunction(l, f);
        lua_pushlightuserdata(l, ud);
        lua_pcall(l, 1, 0, 0)
    }
}

/// What goes on after a protected call.
pub trait Continuation {
    /// Does the rest of the C function, and returns how many results it has. **longjmp**: it may raise.
    ///
    /// # Safety
    /// In the C function that has made the call, perhaps in another frame: `status` is that of the call, `ctx` the number that was given to it.
    unsafe fn go_on(l: *mut lua_State, status: c_int, ctx: c_int) -> c_int;
}

/// Pushes a string of these bytes, as `lua_pushlstring`, which in mlua-sys asks for its address on 5.1 and LuaJIT: a tenth of the time of a short match.
///
/// # Safety
/// In a C function that Lua has called, with a free slot. So many bytes can be read, or `length` is zero and `at` in some object. May raise.
#[inline(always)]
pub unsafe fn push_bytes(l: *mut lua_State, at: *const u8, length: usize) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        lua_pushlstring_(l, at.cast(), length);
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        lua_pushlstring(l, at.cast(), length);
    }
}

/// Sets the value at index `to`, on the stack, to that at `from`: `lua_copy`, which 5.1 and LuaJIT do not have.
///
/// # Safety
/// Both are valid indices; there is a free slot.
#[inline]
pub unsafe fn copy(l: *mut lua_State, from: c_int, to: c_int) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(any(feature = "lua51", feature = "luajit"))]
        {
            lua_pushvalue(l, from);
            lua_replace(l, to);
        }
        #[cfg(not(any(feature = "lua51", feature = "luajit")))]
        lua_copy(l, from, to);
    }
}

/// `lua_pcall(l, nargs, LUA_MULTRET, 0)` and then `K`, in a C function that returns what this returns. From 5.2 on what is called may
/// yield: the frame of the C function is jumped over then, also by an error, and `K` runs in one of its own. (5.1 and LuaJIT have nothing like it.)
///
/// # Safety
/// As `lua_pcall`. Nothing that owns anything is alive in the frames above.
pub unsafe fn pcall_across_yields<K: Continuation>(
    l: *mut lua_State,
    nargs: c_int,
    ctx: c_int,
) -> c_int {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    // SAFETY: by the caller.
    unsafe {
        let status = lua_pcall(l, nargs, LUA_MULTRET, 0);
        K::go_on(l, status, ctx)
    }
    #[cfg(feature = "lua52")]
    // SAFETY: by the caller.
    unsafe {
        unsafe extern "C-unwind" fn k<K: Continuation>(l: *mut lua_State) -> c_int {
            let mut ctx = 0;
            // SAFETY: Lua calls this as the continuation of the C function.
            unsafe {
                let status = lua_getctx(l, &mut ctx);
                K::go_on(l, if status == LUA_YIELD { LUA_OK } else { status }, ctx)
            }
        }
        let status = lua_pcallk(l, nargs, LUA_MULTRET, 0, ctx, Some(k::<K>));
        K::go_on(l, status, ctx)
    }
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    // SAFETY: by the caller.
    unsafe {
        unsafe extern "C-unwind" fn k<K: Continuation>(
            l: *mut lua_State,
            status: c_int,
            ctx: lua_KContext,
        ) -> c_int {
            let status = if status == LUA_YIELD { LUA_OK } else { status };
            // SAFETY: Lua calls this as the continuation of the C function.
            unsafe { K::go_on(l, status, ctx as c_int) }
        }
        let status = lua_pcallk(l, nargs, LUA_MULTRET, 0, ctx as lua_KContext, Some(k::<K>));
        K::go_on(l, status, ctx)
    }
}

/// How much of a `CallInfo` may be read; 0: there is none that [`crate::pcalls`] needs.
pub const CALL_INFO: usize = if cfg!(any(feature = "lua52", feature = "lua53")) {
    72
} else if cfg!(any(feature = "lua54", feature = "lua55")) {
    64
} else {
    0
};

/// The function at `level` of those that are active in `l`: its `CallInfo` (the last field of `lua_Debug`, `i_ci`). Null: there is none, or the engine has no
/// such thing.
///
/// # Safety
/// `l` is a live coroutine on this thread.
pub unsafe fn frame(l: *mut lua_State, level: c_int) -> *mut c_void {
    // SAFETY: by the caller. `lua_Debug` is plain data, of which zero is a value; its last word is a pointer from 5.2 on.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        if CALL_INFO == 0 || lua_getstack(l, level, &mut ar) == 0 {
            return std::ptr::null_mut();
        }
        let end = (&raw mut ar).add(1).cast::<*mut c_void>();
        end.sub(1).read()
    }
}

/// The last field of `lua_Debug`, `i_ci`, a number on 5.1 and LuaJIT. 5.1: that of the call that `ar` is about, 1 for the outermost. LuaJIT: where its frame is.
pub fn call_number(ar: &mut lua_Debug) -> *mut c_int {
    let end = std::ptr::from_mut(ar).wrapping_add(1);
    end.cast::<c_int>().wrapping_sub(1)
}

/// `lua_pcallk` with a continuation that does nothing, the address of which is returned. (Where there is none: `lua_pcall`, and 0.)
///
/// # Safety
/// As `lua_pcall`, without results.
pub unsafe fn pcall_with_continuation(l: *mut lua_State, nargs: c_int) -> usize {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    // SAFETY: by the caller.
    unsafe {
        lua_pcall(l, nargs, 0, 0);
        0
    }
    #[cfg(feature = "lua52")]
    // SAFETY: by the caller.
    unsafe {
        unsafe extern "C-unwind" fn k(_: *mut lua_State) -> c_int {
            0
        }
        let k: lua_CFunction = k;
        lua_pcallk(l, nargs, 0, 0, 0, Some(k));
        k as usize
    }
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    // SAFETY: by the caller.
    unsafe {
        unsafe extern "C-unwind" fn k(_: *mut lua_State, _: c_int, _: lua_KContext) -> c_int {
            0
        }
        let k: lua_KFunction = k;
        lua_pcallk(l, nargs, 0, 0, 0, Some(k));
        k as usize
    }
}

/// What `coroutine.wrap` does with a coroutine `co` that has ended with an error, before it raises that in `l`: from 5.4 on its variables are closed,
/// and the error may become another one. The error is on top of the stack of `l`, and replaced.
///
/// # Safety
/// `co` has ended with an error; in a C function that Lua has called in `l`. May raise.
pub unsafe fn close_after_error(l: *mut lua_State, co: *mut lua_State) {
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    // SAFETY: by the caller. A coroutine that has ended has room for its error.
    unsafe {
        lua_xmove(l, co, 1);
        #[cfg(feature = "lua54")]
        lua_resetthread(co); // `lua_closethread` came with 5.4.6
        #[cfg(feature = "lua55")]
        lua_closethread(co, l);
        lua_xmove(co, l, 1);
    }
    #[cfg(not(any(feature = "lua54", feature = "lua55")))]
    let _ = (l, co);
}

/// `lua_gc`, which takes a variable number of arguments from 5.4 on.
///
/// # Safety
/// As `lua_gc`: `LUA_GCCOLLECT` and `LUA_GCSTEP` run finalizers and may raise.
pub unsafe fn gc(l: *mut lua_State, what: c_int) -> c_int {
    // SAFETY: by the caller.
    unsafe { lua_gc(l, what, 0) }
}

/// Bytes in use by the state as the collector counts them.
///
/// # Safety
/// `l` is a live state on its own thread.
pub unsafe fn bytes_in_use(l: *mut lua_State) -> usize {
    // SAFETY: by the caller; these two only read counters.
    unsafe { gc(l, LUA_GCCOUNT) as usize * 1024 + gc(l, LUA_GCCOUNTB) as usize }
}

/// The allocator function and its user data, as the state uses them now.
///
/// # Safety
/// `l` is a live state on its own thread.
#[inline]
pub unsafe fn allocator(l: *mut lua_State) -> (lua_Alloc, *mut c_void) {
    let mut ud = std::ptr::null_mut();
    // SAFETY: by the caller; it reads two words.
    let f = unsafe { lua_getallocf(l, &mut ud) };
    (f, ud)
}

/// A new coroutine of which the allocator has been told, but which Lua has not set up yet, must not be touched.
///
/// 5.2 and 5.3: `lua_sethook` looks at `L->ci`, which is null (we zero the block) until `stack_init` has built it.
/// `lua_getstack(L, 0, ar)` tells: it compares `L->ci` with the base frame and stores it in `ar->i_ci`. 5.4 and 5.5 walk from
/// `L->ci`, where null is an empty list, but get the same test. 5.1 only stores words.
///
/// # Safety
/// `co` is the address of a block of a coroutine's size, zeroed when it was allocated.
pub unsafe fn is_initialised(co: *mut lua_State) -> bool {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    {
        let _ = co;
        true
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller; `lua_getstack` at level 0 reads `L->ci` and writes the last field of `ar`, `i_ci`, a pointer.
    unsafe {
        let mut ar: lua_Debug = std::mem::zeroed();
        if lua_getstack(co, 0, &mut ar) == 0 {
            return true; // at its base frame
        }
        let end = (&raw const ar).add(1).cast::<*const c_void>();
        !end.sub(1).read().is_null()
    }
}

/// Offset of `tt`, the type tag of a collectable object, behind `CommonHeader.next`.
pub const TYPE_TAG_OFFSET: usize = size_of::<usize>();

/// The bits of the tag that are the basic type; 5.2 and later keep variants and the collectable mark above them.
pub const TYPE_TAG_MASK: u8 = 0x0f;

/// Whether this frame was entered by a tail call, where the engine says so in the frame (5.1 shows a frame of its own).
pub fn is_tail_call(ar: &lua_Debug) -> bool {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    {
        let _ = ar;
        false
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    {
        ar.istailcall != 0
    }
}

/// `LUA_RELEASE`, for instance `Lua 5.4.9`, or LuaJIT's version, asked of the library itself where it can tell.
pub fn release() -> String {
    let ask = |expr: &CStr| -> Option<String> {
        // SAFETY: a state of our own, closed before we return; `luaL_loadstring` and `lua_pcall` are protected, and the
        // string is copied before the state goes.
        unsafe {
            let l = luaL_newstate();
            if l.is_null() {
                return None;
            }
            luaL_openlibs(l);
            let mut text = None;
            if luaL_loadstring(l, expr.as_ptr()) == 0 && lua_pcall(l, 0, 1, 0) == 0 {
                let s: *const c_char = lua_tostring(l, -1);
                if !s.is_null() {
                    text = Some(CStr::from_ptr(s).to_string_lossy().into_owned());
                }
            }
            lua_close(l);
            text
        }
    };
    ask(c"return jit and jit.version or _VERSION").unwrap_or_else(|| ENGINE.to_string())
}
