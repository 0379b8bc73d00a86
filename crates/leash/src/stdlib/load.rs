//! `load` and `loadstring`, which look up while they compile.
//!
//! Compiling takes the square of the text's length, if the text is made for it: each branch of a chain of `elseif`, each `break` of a loop, each operand of a long `and` is put at the end of a list, and to find
//! that the compilers of PUC Lua and of LuaJIT alike go through it from its beginning (`luaK_concat` in `lcode.c`, `jmp_append` in `lj_parse.c`). 180 kB take two seconds, two megabytes minutes.
//!
//! So a text is handed over in pieces of [`PIECE`] bytes, and the hook is looked at in between: a compiler asks its reader for more, and that may raise errors (manual of `lua_load`), as the reader functions of
//! scripts do. What a reader function returns is handed on in such pieces, too. Bytecode is not compiled, only copied, and goes as it comes.
//!
//! **Left to the originals**: whatever is not a string, a number or a function, and wrong arguments, for their messages.

use super::steps;
use super::stock::original;
use crate::hook;
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// Bytes between two looks. They may hold 25 operands, each of which takes as long as it takes to go through a list: after a minute that has 200,000 places, 0.4 ms.
const PIECE: usize = 128;

/// Where the text of a reader function is kept: behind all arguments.
const KEPT: c_int = 5;

/// The first byte of bytecode, `LUA_SIGNATURE`.
const BYTECODE: u8 = 27;

/// What is still to be compiled.
struct Text {
    next: *const u8,
    left: usize,
    /// It comes from a function, which is the first argument.
    from_function: bool,
    /// Nothing has been handed over yet.
    is_first: bool,
    is_bytecode: bool,
}

/// `load(text [, name [, mode [, env]]])`, `load(function [, name [, mode [, env]]])`; 5.1: `load(function [, name])`. On LuaJIT and 5.2 also `loadstring`.
///
/// # Safety
/// Called by Lua, as a C function, in the place of the original.
pub unsafe extern "C-unwind" fn load(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        let from_function = match sys::lua_type(l, 1) {
            sys::LUA_TFUNCTION => true,
            sys::LUA_TSTRING | sys::LUA_TNUMBER if !cfg!(feature = "lua51") => false,
            _ => return original(l, |stock| stock.load),
        };
        let given = sys::lua_gettop(l);
        if given > 1 && (!is_text_or_none(l, 2) || !cfg!(feature = "lua51") && !is_mode(l)) {
            return original(l, |stock| stock.load);
        }
        compile(l, from_function, given)
    }
}

/// 5.1: `loadstring(text [, name])`
///
/// # Safety
/// As [`load`].
#[cfg(feature = "lua51")]
pub unsafe extern "C-unwind" fn loadstring(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        match sys::lua_type(l, 1) {
            sys::LUA_TSTRING | sys::LUA_TNUMBER if is_text_or_none(l, 2) => {
                compile(l, false, sys::lua_gettop(l))
            }
            _ => original(l, |stock| stock.loadstring),
        }
    }
}

unsafe fn is_text_or_none(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: any index may be asked for.
    let kind = unsafe { sys::lua_type(l, index) };
    [
        sys::LUA_TNONE,
        sys::LUA_TNIL,
        sys::LUA_TSTRING,
        sys::LUA_TNUMBER,
    ]
    .contains(&kind)
}

/// Whether the third argument may be a mode. (5.5 has one more letter, which is not for scripts.)
unsafe fn is_mode(l: *mut lua_State) -> bool {
    // SAFETY: as above; a string is read in place.
    unsafe {
        is_text_or_none(l, 3)
            && (sys::lua_isnoneornil(l, 3) != 0
                || !CStr::from_ptr(sys::lua_tostring(l, 3))
                    .to_bytes()
                    .contains(&b'B'))
    }
}

/// `luaL_loadbufferx` that looks up while it compiles: for hosts that compile hostile text, in a C function inside a call with limits. `None` allows text and bytecode; 5.1 allows both in any case. Returns the status of
/// `lua_load`, with the function or a message on the stack. A stop that comes meanwhile is a status other than `LUA_OK`, too; it is seen as such when the C function returns.
///
/// ```
/// use leash::{Limits, Reason, Vm, stdlib, sys};
/// use std::sync::LazyLock;
/// use std::time::Duration;
///
/// // 20 s. It does not belong to a frame that an error may jump over.
/// static TEXT: LazyLock<String> = LazyLock::new(|| format!("local a return {}a", "a and ".repeat(100_000)));
///
/// unsafe extern "C-unwind" fn compile(l: *mut sys::lua_State) -> std::ffi::c_int {
///     // SAFETY: called by Lua. Nothing in this frame owns anything.
///     unsafe { stdlib::load_buffer(l, TEXT.as_bytes(), c"=text", Some(c"t")) };
///     1
/// }
///
/// // SAFETY: a new state, on this thread.
/// unsafe {
///     let l = sys::luaL_newstate();
///     let vm = Vm::attach(l).unwrap();
///     let limits = Limits::new().timeout(Duration::from_millis(20));
///     sys::lua_pushcfunction(l, compile);
///     let stop = vm.call(l, 0, 0, 0, &limits).unwrap_err();
///     assert_eq!(stop.reason, Reason::Timeout);
///     vm.close(&limits);
/// }
/// ```
///
/// # Safety
/// In a C function that Lua has called, in `l`, with free slots. Nothing that owns anything is alive in the frames above, since memory may run out. The text and the names stay where they are meanwhile.
pub unsafe fn load_buffer(
    l: *mut lua_State,
    text: &[u8],
    name: &CStr,
    mode: Option<&CStr>,
) -> c_int {
    let mut text = Text {
        next: text.as_ptr(),
        left: text.len(),
        from_function: false,
        is_first: true,
        is_bytecode: false,
    };
    let mode = mode.filter(|_| !cfg!(feature = "lua51"));
    let mode = mode.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: by the caller; the text outlives the call.
    unsafe { sys::load(l, read, (&raw mut text).cast(), name.as_ptr(), mode) }
}

/// **longjmp**: nothing here owns anything. (An error in the reader is caught by the compiler, which gives back what it holds.)
unsafe fn compile(l: *mut lua_State, from_function: bool, given: c_int) -> c_int {
    // SAFETY: a C function that Lua has called, with so many arguments, which are right. Strings stay where they are while they are arguments.
    unsafe {
        let mut text = Text {
            next: ptr::null(),
            left: 0,
            from_function,
            is_first: true,
            is_bytecode: false,
        };
        let mut name = c"=(load)".as_ptr();
        if !from_function {
            name = sys::lua_tolstring(l, 1, &mut text.left);
            text.next = name.cast();
        }
        if given >= 2 && sys::lua_type(l, 2) != sys::LUA_TNIL {
            name = sys::lua_tostring(l, 2);
        }
        let mut mode = ptr::null();
        if given >= 3 && !cfg!(feature = "lua51") && sys::lua_type(l, 3) != sys::LUA_TNIL {
            mode = sys::lua_tostring(l, 3);
        }
        if from_function {
            sys::lua_settop(l, KEPT);
        }
        let status = sys::load(l, read, (&raw mut text).cast(), name, mode);
        if status != sys::LUA_OK {
            sys::lua_pushnil(l);
            sys::lua_insert(l, -2);
            return 2;
        }
        if given >= 4 {
            sys::set_environment(l, 4);
        }
    }
    1
}

/// The reader. **longjmp**: raises what the hook raises, or the function.
unsafe extern "C-unwind" fn read(
    l: *mut lua_State,
    ud: *mut c_void,
    size: *mut usize,
) -> *const c_char {
    // SAFETY: who compiles has passed the text, which lives as long as the compiler works. As a reader of Lua's own, this may use the stack if it leaves it as it was.
    unsafe {
        let text = &mut *ud.cast::<Text>();
        if hook::is_waiting(l) {
            sys::luaL_checkstack(l, 2, TOO_MANY.as_ptr());
            steps::look_up(l);
        }
        if text.left == 0 && text.from_function {
            ask(l, text);
        }
        if text.is_first {
            text.is_first = false;
            text.is_bytecode = text.left != 0 && *text.next == BYTECODE;
        }
        *size = match text.is_bytecode {
            true => text.left,
            false => text.left.min(PIECE),
        };
        let piece = text.next;
        text.next = piece.wrapping_add(*size);
        text.left -= *size;
        piece.cast()
    }
}

const TOO_MANY: &CStr = c"too many nested functions";

/// Asks the function for more. **longjmp**: as above.
unsafe fn ask(l: *mut lua_State, text: &mut Text) {
    // SAFETY: by the caller. What is returned is kept where it was before.
    unsafe {
        sys::luaL_checkstack(l, 2, TOO_MANY.as_ptr());
        sys::lua_pushvalue(l, 1);
        sys::lua_call(l, 0, 1);
        match sys::lua_type(l, -1) {
            sys::LUA_TNIL => {
                sys::lua_settop(l, -2);
                (text.next, text.left) = (ptr::null(), 0);
            }
            sys::LUA_TSTRING | sys::LUA_TNUMBER => {
                sys::lua_replace(l, KEPT);
                text.next = sys::lua_tolstring(l, KEPT, &mut text.left).cast();
            }
            _ => {
                sys::luaL_error(l, c"reader function must return a string".as_ptr());
            }
        }
    }
}
