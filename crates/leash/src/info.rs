//! What is asked of the functions that are active: `lua_getinfo`, where it does no harm.
//!
//! `lua_getinfo` believes what `lua_getstack` has noted, and finds out where the code is that has called. There are places where that is wrong, and what it finds there it follows anywhere:
//!
//! - **LuaJIT, below what LuaJIT itself has called**: a message handler, a finalizer, a hook. Where the function below was, is taken from the C frame (`debug_framepc` in `lj_debug.c`). When a stack overflows while
//!   compiled code is left, nobody has written it there, and the name of the handler is looked for in any word of memory. (So does `debug.traceback`: plain LuaJIT crashes by it.) The handler is
//!   not asked for its name, nor what is below it for its line.
//! - **LuaJIT, beyond 65,536 slots of a stack.** `lua_getstack` notes in 16 bits where a frame is. A stack has 65,500 slots; but in LuaJIT before February 2024 the message handler of a stack overflow
//!   may lie beyond. Then any slot at the bottom of the stack is taken for the function. Such a function is asked for nothing.
//! - **5.2, where the collector may be at work**: [`names_are_safe`].
//!
//! Both of the former are seen in the frames, of which [`pcalls`] knows more than `lua_getstack` tells. Where it does not (values of 32 bits), no names are asked for.

use crate::pcalls;
use crate::sys::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_int};

/// `lua_getinfo` of the function at this level, for which `lua_getstack` has filled `ar` (or at level 0, for the hook that was called with `ar`). False: nothing can be told about it, and nothing has
/// been pushed. Names and lines may be missing: then they are as `ar` has them.
///
/// # Safety
/// As `lua_getinfo`, on the thread of `l`, which runs or is suspended. What is pushed needs free slots.
///
/// # Panics
/// With more than seven letters.
pub unsafe fn of(l: *mut lua_State, level: c_int, what: &CStr, ar: &mut lua_Debug) -> bool {
    let mut letters = [0_u8; MOST_LETTERS + 1];
    let mut n = 0;
    // SAFETY: by the caller.
    let Some(safe) = (unsafe { Safe::at(l, level, ar) }) else {
        return false;
    };
    for &letter in what.to_bytes() {
        if match letter {
            b'n' => safe.name,
            b'l' => safe.line,
            _ => true,
        } {
            letters[n] = letter;
            n += 1;
        }
    }
    // SAFETY: by the caller. The last letter is a zero.
    unsafe { sys::lua_getinfo(l, letters.as_ptr().cast(), ar) != 0 }
}

/// What is asked for at a time.
const MOST_LETTERS: usize = 7;

/// What a traceback line needs. It allocates nothing: `S`, `l`, `n` (and `t` where tail calls are told so)
/// fill fields of `ar`; `f` and `L`, which push, are not asked for. The name only if `named`: see [`names_are_safe`].
///
/// # Safety
/// As [`of`]; it needs no slots.
pub unsafe fn line(l: *mut lua_State, level: c_int, ar: &mut lua_Debug, named: bool) -> bool {
    let what = match (named, cfg!(any(feature = "lua51", feature = "luajit"))) {
        (true, true) => c"Sln",
        (true, false) => c"Slnt",
        (false, true) => c"Sl",
        (false, false) => c"Slt",
    };
    (ar.name, ar.namewhat) = (c"".as_ptr(), c"".as_ptr());
    ar.currentline = -1;
    // SAFETY: by the caller.
    unsafe { of(l, level, what, ar) }
}

/// Which letters `lua_getinfo` may be given besides those that are always safe.
struct Safe {
    name: bool,
    line: bool,
}

/// Slots that LuaJIT can note.
const SLOTS: usize = 1 << 16;

/// So many frames below are looked at where nothing else is known.
const LOOKED_AT: c_int = 64;

impl Safe {
    /// None: `ar` is not about the function at this level.
    ///
    /// # Safety
    /// As [`of`].
    unsafe fn at(l: *mut lua_State, level: c_int, ar: &mut lua_Debug) -> Option<Safe> {
        let (mut name, mut line) = (true, true);
        if cfg!(feature = "luajit") {
            // SAFETY: by the caller.
            let is_noted = match unsafe { pcalls::seen(l, level) } {
                Some(seen) => {
                    (name, line) = (!seen.is_called_by_c, !seen.is_below_c);
                    seen.slot < SLOTS
                }
                None => {
                    name = false;
                    // SAFETY: by the caller.
                    unsafe { is_above_others(l, level, slot(ar)) }
                }
            };
            is_noted.then_some(())?;
        }
        Some(Safe { name, line })
    }
}

/// Whether what lies below is at lower slots: else this one is not where it seems to be.
///
/// # Safety
/// As [`of`].
unsafe fn is_above_others(l: *mut lua_State, level: c_int, at: usize) -> bool {
    (level + 1..=level + LOOKED_AT).all(|level| {
        // SAFETY: `lua_Debug` is plain data, of which zero is a value; `l` by the caller.
        unsafe {
            let mut below: lua_Debug = std::mem::zeroed();
            sys::lua_getstack(l, level, &mut below) == 0 || slot(&mut below) < at
        }
    })
}

/// LuaJIT: where `lua_getstack` has noted the frame, in slots of the stack.
pub fn slot(ar: &mut lua_Debug) -> usize {
    // SAFETY: it is a field of `ar`.
    let number = unsafe { sys::call_number(ar).read() };
    number as usize & (SLOTS - 1)
}

/// Whether the names of functions may be asked for where the collector may be at work. 5.2 runs a step of it at the very beginning of a function
/// (`luaD_precall`), before the first instruction; the name of what is called there is looked for in the instruction before that, which is none
/// (`getfuncname` in `ldebug.c`), and what is found instead may be followed anywhere.
pub const fn names_are_safe(collecting: bool) -> bool {
    !(collecting && cfg!(feature = "lua52"))
}

/// 5.2: whether a finalizer runs, in any coroutine: then the collector does not (`GCTM` in `lgc.c`), unless somebody else has stopped it.
///
/// # Safety
/// `l` is live, on this thread.
pub unsafe fn may_be_in_finalizer(l: *mut lua_State) -> bool {
    // SAFETY: by the caller; it reads a flag.
    cfg!(feature = "lua52") && unsafe { sys::gc(l, sys::COLLECTOR_IS_RUNNING) == 0 }
}

#[cfg(all(test, feature = "luajit"))]
mod tests {
    use super::*;

    /// `ask()`: what is told of itself, of the function that has called it, and of the next.
    unsafe extern "C-unwind" fn ask(l: *mut lua_State) -> c_int {
        // SAFETY: a C function called by Lua, with free slots. `lua_Debug` is plain data, of which zero is a value.
        unsafe {
            let mut ar: lua_Debug = std::mem::zeroed();
            for level in 0..3 {
                assert_eq!(sys::lua_getstack(l, level, &mut ar), 1);
                assert!(line(l, level, &mut ar, true));
                // Null, where it was asked for in vain.
                let name = if ar.name.is_null() {
                    c"".as_ptr()
                } else {
                    ar.name
                };
                sys::lua_pushstring(l, name);
                sys::lua_pushinteger(l, ar.currentline as _);
            }
        }
        6
    }

    #[test]
    fn what_c_code_has_called_has_no_name_and_what_is_below_it_no_line() {
        crate::pcalls::learn();
        const TEXT: &CStr = c"
            local function told(...) return table.concat({ ... }, ' ') end
            local function called() local s = told(ask()) return s end
            local function handler() local s = told(ask()) return s end
            local plain = called()
            local _, handled = xpcall(function() return nil .. '' end, handler)
            return plain .. ', ' .. handled";
        // SAFETY: a state of our own, on this thread; what is called fits.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            sys::lua_pushcfunction(l, ask);
            sys::lua_setglobal(l, c"ask".as_ptr());
            assert_eq!(sys::luaL_loadstring(l, TEXT.as_ptr()), 0);
            assert_eq!(sys::lua_pcall(l, 0, 1, 0), 0);
            let told = CStr::from_ptr(sys::lua_tostring(l, -1)).to_str().unwrap();
            assert_eq!(told, "ask -1 called 3  5, ask -1  4  -1");
            sys::lua_close(l);
        }
    }
}
