//! LuaJIT: the compiler's events, by which guards are placed.
//!
//! Our handler of the event `record` is a small Lua function ([`TEXT`]): LuaJIT older than 2025 calls handlers on the coroutine that is being compiled, however little stack is left
//! there, and checks for twenty slots; a Lua function that needs no more always runs, a C function needs twenty of its own. If one of those that it calls fails for want of
//! stack, LuaJIT has made the stack larger for the error, and the second try succeeds.
//!
//! **The script's own handlers** (`jit.v`, `jit.dump`) are called from ours: there is one handler for an event, so `jit.attach` is wrapped.

use super::closing::{self, Instruction};
use super::{LINES, NO_LINE, OWN_COROUTINE, WAITING, note};
use crate::hook::state_of;
use crate::library;
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::Ordering;

/// Its address is the key of the list in the registry: for each event our handler, and its key in the table of handlers.
static KEY: u8 = 0;

fn key() -> *mut c_void {
    (&raw const KEY).cast_mut().cast()
}

/// Pushes a handler whose first upvalue is the script's.
type Make = unsafe fn(*mut lua_State) -> bool;

const EVENTS: [(&CStr, Make); 2] = [(c"record", make_on_record), (c"trace", make_on_trace)];

/// What is called for the event `record`: with the number of the trace, the function, the place of the instruction there (-1 in a C function), and the depth of calls.
const TEXT: &CStr = c"local theirs, pcall, note = ...
return function(trace, f, at, depth)
  local theirs = theirs
  if at >= 0 and not pcall(note, f, at) then pcall(note, f, at) end
  if theirs then return theirs(trace, f, at, depth) end
end";

/// Those to which it is safe to attach.
fn events() -> &'static [(&'static CStr, Make)] {
    let safe = if OWN_COROUTINE.load(Ordering::Relaxed) {
        2
    } else {
        1
    };
    &EVENTS[..safe]
}

/// What LuaJIT tells with the event `trace`. Kept alive, so that it need not make these strings: it calls handlers on a coroutine of its own
/// (`vmthread`), and what fails for want of memory before the call, as under a memory limit, leaves three values on that coroutine's stack; after some dozens of
/// failures they lie behind its end, on top of other objects.
const WORDS: [&CStr; 4] = [c"start", c"stop", c"abort", c"flush"];

const HANDLERS: &CStr = c"_VMEVENTS";

/// An instruction is about to be recorded. **longjmp**, as all below: the script's handler may raise.
unsafe extern "C-unwind" fn on_record(l: *mut lua_State) -> c_int {
    let Some(state) = state_of(l) else {
        return 0;
    };
    let mode = state.prof_mode.get();
    // SAFETY: a look at the arguments.
    let of_lua =
        || unsafe { sys::lua_type(l, 1) == sys::LUA_TFUNCTION && sys::lua_iscfunction(l, 1) == 0 };
    if mode.is_null() || !of_lua() {
        return 0;
    }
    // SAFETY: the two words, found and confirmed; LuaJIT is in its recorder, on this thread, and calls us, with a function and a place in it.
    unsafe {
        let prev_line = mode.sub(1);
        let line = prev_line.read_volatile();
        let is_first = line == NO_LINE;
        let at = sys::lua_tointeger(l, 2) as c_int;
        if is_first {
            state.recorded_from.set(at);
        }
        let guards = if super::is_observing() {
            note(l, line);
            is_first
        } else {
            let begin = state.recorded_from.get();
            (is_first || line == WAITING)
                && Instruction {
                    op: closing::op(sys::lua_topointer(l, 1), at),
                    at,
                    begin,
                    is_first,
                }
                .may_close()
        };
        mode.write_volatile(if guards { LINES } else { 0 });
        if is_first && !guards {
            prev_line.write_volatile(WAITING);
        }
    }
    0
}

unsafe fn make_on_record(l: *mut lua_State) -> bool {
    let text = TEXT.to_bytes();
    // SAFETY: by the caller: in a C function, with free slots.
    unsafe {
        if sys::luaL_loadbuffer(l, text.as_ptr().cast(), text.len(), c"=leash".as_ptr()) != 0 {
            return false;
        }
        sys::lua_pushnil(l);
        sys::lua_getglobal(l, c"pcall".as_ptr());
        if sys::lua_iscfunction(l, -1) == 0 {
            return false; // somebody has replaced it
        }
        sys::lua_pushcclosure(l, on_record, 0);
        sys::lua_call(l, 3, 1);
    }
    true
}

unsafe fn make_on_trace(l: *mut lua_State) -> bool {
    // SAFETY: as above.
    unsafe {
        sys::lua_pushnil(l);
        sys::lua_pushcclosure(l, on_trace, 1);
    }
    true
}

/// Pushes `funcbc` of `jit.util`, which tells the instruction at a place of a function, or nil.
///
/// # Safety
/// In a C function, with free slots. May raise.
unsafe fn push_funcbc(l: *mut lua_State) {
    // SAFETY: by the caller.
    unsafe {
        let top = sys::lua_gettop(l);
        if !library::loaded(l, c"jit.util") {
            sys::lua_settop(l, top);
            if library::registered(l, c"_PRELOAD") {
                sys::lua_pushstring(l, c"jit.util".as_ptr());
                sys::lua_rawget(l, -2);
                if sys::lua_iscfunction(l, -1) != 0 {
                    sys::lua_call(l, 0, 1); // makes the table, and leaves it to us
                }
            }
        }
        if sys::lua_type(l, -1) == sys::LUA_TTABLE {
            sys::lua_pushstring(l, c"funcbc".as_ptr());
            sys::lua_rawget(l, -2);
        }
        if sys::lua_gettop(l) == top || sys::lua_iscfunction(l, -1) == 0 {
            sys::lua_pushnil(l);
        }
        sys::lua_insert(l, top + 1);
        sys::lua_settop(l, top + 1);
    }
}

/// For the trial: has the numbers of instructions found out.
///
/// # Safety
/// As [`super::thin`], in a state of our own.
pub unsafe extern "C-unwind" fn learn(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    unsafe {
        push_funcbc(l);
        closing::learn(l);
    }
    0
}

/// A trace begins, ends or is given up.
unsafe extern "C-unwind" fn on_trace(l: *mut lua_State) -> c_int {
    if let Some(mode) = mode_of(l) {
        // SAFETY: as above.
        unsafe { mode.write_volatile(LINES) };
    }
    // SAFETY: as above.
    unsafe { pass_on(l) }
}

fn mode_of(l: *mut lua_State) -> Option<*mut c_int> {
    let mode = state_of(l)?.prof_mode.get();
    (!mode.is_null()).then_some(mode)
}

/// Calls the script's handler, if there is one.
unsafe fn pass_on(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller; a C function has LUA_MINSTACK free slots.
    unsafe {
        let arguments = sys::lua_gettop(l);
        sys::lua_pushvalue(l, sys::lua_upvalueindex(1));
        if sys::lua_type(l, -1) == sys::LUA_TFUNCTION {
            sys::lua_insert(l, 1);
            sys::lua_call(l, arguments, 0);
        }
    }
    0
}

/// Pushes the list. False if it is not there.
unsafe fn push_list(l: *mut lua_State) -> bool {
    // SAFETY: by the caller: a free slot.
    unsafe {
        sys::lua_pushlightuserdata(l, key());
        sys::lua_rawget(l, sys::LUA_REGISTRYINDEX);
        sys::lua_type(l, -1) == sys::LUA_TTABLE
    }
}

pub unsafe fn is_installed(l: *mut lua_State) -> bool {
    // SAFETY: by the caller: a free slot. Nothing is called.
    unsafe {
        let installed = push_list(l);
        sys::lua_settop(l, -2);
        installed
    }
}

/// Puts our handlers in front of the script's.
pub unsafe extern "C-unwind" fn install(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots. Fields are read and written without metamethods.
    unsafe {
        sys::lua_settop(l, 0);
        if is_installed(l) || !library::loaded(l, c"jit") {
            return 0;
        }
        let jit = sys::lua_gettop(l);
        sys::lua_pushstring(l, c"attach".as_ptr());
        sys::lua_rawget(l, jit);
        let attach = sys::lua_gettop(l);
        sys::lua_createtable(l, 2 * EVENTS.len() as c_int + WORDS.len() as c_int, 0);
        let list = sys::lua_gettop(l);
        for (i, word) in (2 * EVENTS.len() as sys::lua_Integer + 1..).zip(WORDS) {
            sys::lua_pushstring(l, word.as_ptr());
            sys::lua_rawseti(l, list, i);
        }
        for (i, &(name, make)) in (0..).step_by(2).zip(events()) {
            let before = copy_of_handlers(l);
            if !make(l) {
                return 0;
            }
            let ours = sys::lua_gettop(l);
            sys::lua_pushvalue(l, attach);
            sys::lua_pushvalue(l, ours);
            sys::lua_pushstring(l, name.as_ptr());
            sys::lua_call(l, 2, 0);
            if !push_key_of(l, ours) {
                return 0;
            }
            sys::lua_pushvalue(l, -1);
            sys::lua_rawget(l, before);
            sys::lua_setupvalue(l, ours, 1);
            sys::lua_rawseti(l, list, i + 2);
            sys::lua_pushvalue(l, ours);
            sys::lua_rawseti(l, list, i + 1);
            sys::lua_settop(l, list);
        }
        sys::lua_pushlightuserdata(l, key());
        sys::lua_pushvalue(l, list);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
        sys::lua_settop(l, jit);
        library::replace(l, c"attach", attach_to);
    }
    0
}

/// Pushes a copy of the table of handlers; its index.
unsafe fn copy_of_handlers(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller: in a C function, with free slots.
    unsafe {
        sys::lua_createtable(l, 0, 4);
        let copy = sys::lua_gettop(l);
        if library::registered(l, HANDLERS) {
            sys::lua_pushnil(l);
            while sys::lua_next(l, copy + 1) != 0 {
                sys::lua_pushvalue(l, -2);
                sys::lua_insert(l, -2);
                sys::lua_rawset(l, copy);
            }
        }
        sys::lua_settop(l, copy);
        copy
    }
}

/// Pushes the key of a handler in their table. False if it is not there.
unsafe fn push_key_of(l: *mut lua_State, handler: c_int) -> bool {
    // SAFETY: as above.
    unsafe {
        if !library::registered(l, HANDLERS) {
            return false;
        }
        let handlers = sys::lua_gettop(l);
        sys::lua_pushnil(l);
        while sys::lua_next(l, handlers) != 0 {
            if sys::lua_rawequal(l, -1, handler) != 0 {
                sys::lua_settop(l, -2);
                return true;
            }
            sys::lua_settop(l, -2);
        }
        false
    }
}

/// In the place of `jit.attach`.
unsafe extern "C-unwind" fn attach_to(l: *mut lua_State) -> c_int {
    // SAFETY: a C function that Lua has called.
    unsafe {
        if sys::lua_isnoneornil(l, 2) != 0 && sys::lua_gettop(l) > 0 {
            sys::lua_settop(l, 1);
            each(l, take_away);
            sys::lua_settop(l, 1);
        }
        library::original(l, 0, || {});
        each(l, put_in_front);
    }
    0
}

/// Calls `f` for each event, with our handler, its key and the table of handlers on the stack, one above the other.
unsafe fn each(l: *mut lua_State, f: unsafe fn(*mut lua_State, c_int)) {
    // SAFETY: by the caller: in a C function.
    unsafe {
        if !push_list(l) {
            return;
        }
        let list = sys::lua_gettop(l);
        for i in (1..).step_by(2).take(EVENTS.len()) {
            sys::lua_rawgeti(l, list, i);
            if sys::lua_type(l, -1) != sys::LUA_TFUNCTION {
                break;
            }
            sys::lua_rawgeti(l, list, i + 1);
            if library::registered(l, HANDLERS) {
                f(l, list + 1);
            }
            sys::lua_settop(l, list);
        }
    }
}

/// The first argument is a handler that is to be detached: if it is the script's, it is not called any more.
unsafe fn take_away(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        if !sys::lua_getupvalue(l, ours, 1).is_null() && sys::lua_rawequal(l, -1, 1) != 0 {
            sys::lua_pushnil(l);
            sys::lua_setupvalue(l, ours, 1);
        }
    }
}

/// Whatever has been attached to the event is called from ours.
unsafe fn put_in_front(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        let handlers = ours + 2;
        sys::lua_pushvalue(l, ours + 1);
        sys::lua_rawget(l, handlers);
        if sys::lua_rawequal(l, -1, ours) == 0 {
            sys::lua_setupvalue(l, ours, 1);
            sys::lua_pushvalue(l, ours + 1);
            sys::lua_pushvalue(l, ours);
            sys::lua_rawset(l, handlers);
        }
    }
}

/// Puts the script's handlers where ours are.
pub unsafe extern "C-unwind" fn remove(l: *mut lua_State) -> c_int {
    // SAFETY: a C function has LUA_MINSTACK free slots.
    unsafe {
        each(l, give_back);
        sys::lua_pushlightuserdata(l, key());
        sys::lua_pushnil(l);
        sys::lua_rawset(l, sys::LUA_REGISTRYINDEX);
    }
    0
}

unsafe fn give_back(l: *mut lua_State, ours: c_int) {
    // SAFETY: by `each`.
    unsafe {
        sys::lua_pushvalue(l, ours + 1);
        sys::lua_rawget(l, ours + 2);
        if sys::lua_rawequal(l, -1, ours) != 0 {
            sys::lua_pushvalue(l, ours + 1);
            sys::lua_getupvalue(l, ours, 1);
            sys::lua_rawset(l, ours + 2);
        }
    }
}
