//! The names of llthreads2.ex in Lua.
//!
//! `start(detached, joinable)` and what follows from it, as in llthreads2:
//!
//! | detached | joinable | `join` | who closes the state | collecting the object |
//! |---|---|---|---|---|
//! | no | yes (default) | waits; true and the results, or false and the message | the one who joins | waits for the thread |
//! | no | no | waits; true, 0 | the thread | waits for the thread |
//! | yes | no (default) | nil, message | the thread | does not wait |
//! | yes | yes | waits; true, 0 | the thread | does not wait |
//!
//! `join(0)` asks without waiting: nil, `timeout`. Any other number waits without limit, as there.
//!
//! Where this differs: the new state gets `package.path` and `package.cpath` of the one that calls `new`; no table of options
//! and no `@file` instead of the function; `LUA_INIT` is not run; an error is written to stderr only if nobody can join for it.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::thread::{Builder, JoinHandle};

use mlua_sys::*;

use crate::Function;
use crate::child::{self, Answer, Job, PATHS, State};
use crate::mtmsg::{Received, push_received};
use crate::object::{Object, check, push_new};
use crate::value::{Value, bytes, check_all, read_all};

/// The module's functions.
pub const FUNCTIONS: &[Function] = &[(c"new", new)];

/// What `pthread_create` takes by default; Rust's own 2 MiB are less than C libraries under Lua may count on.
const STACK: usize = 8 << 20;

/// A thread object.
#[derive(Default)]
struct Thread(Stage);

/// How far it has come.
enum Stage {
    New(Job),
    Running { handle: Handle, mode: Mode },
    Detached,
    Joined,
}

/// What the thread leaves: its answer, and its state if the one who joins is to close it.
type Handle = JoinHandle<(Option<State>, Answer)>;

/// The arguments of `start`.
#[derive(Clone, Copy)]
struct Mode {
    detached: bool,
    joinable: bool,
}

impl Mode {
    /// Whether the thread closes its state itself, so that there is nothing to return.
    fn closes_itself(self) -> bool {
        self.detached || !self.joinable
    }
}

impl Default for Stage {
    fn default() -> Self {
        Stage::New(Job::default())
    }
}

impl Object for Thread {
    const NAME: &'static CStr = c"leash.testthreads.thread";
    const METHODS: &'static [Function] = &[(c"start", start), (c"join", join)];
}

impl Thread {
    /// Starts the thread; the refusal says why not.
    fn start(&mut self, mode: Mode) -> Result<(), &'static CStr> {
        let job = match &mut self.0 {
            Stage::New(job) => std::mem::take(job),
            _ => return Err(c"Thread already started."),
        };
        self.0 = match spawn(job, mode) {
            Ok(handle) if !mode.detached || mode.joinable => Stage::Running { handle, mode },
            Ok(_) => Stage::Detached,
            Err(_) => return Err(c"the system starts no more threads"),
        };
        Ok(())
    }

    /// Why `join` cannot be done, if so.
    fn refusal(&self, wait: bool) -> Option<&'static CStr> {
        match &self.0 {
            Stage::New(_) => Some(c"Can't join a thread that hasn't be started."),
            Stage::Detached => Some(c"Can't join a thread that has been detached."),
            Stage::Joined => Some(c"Can't join a thread that has already been joined."),
            Stage::Running { handle, .. } if !wait && !handle.is_finished() => Some(c"timeout"),
            Stage::Running { .. } => None,
        }
    }

    /// Waits for the thread, closes its state and returns what it left; nothing if it does not run.
    fn join(&mut self) -> Answer {
        let Stage::Running { handle, mode } = std::mem::replace(&mut self.0, Stage::Joined) else {
            return Answer::new();
        };
        match handle.join() {
            Ok(_) if mode.closes_itself() => vec![Value::Boolean(true), Value::Number(0.0)],
            Ok((_state, answer)) => answer,
            Err(_) => child::failure(b"panic"),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Stage::Running { mode, .. } = &self.0
            && !mode.detached
        {
            self.join();
        }
    }
}

/// The new OS thread.
fn spawn(job: Job, mode: Mode) -> io::Result<Handle> {
    Builder::new().stack_size(STACK).spawn(move || {
        let (state, answer) = child::run(&job);
        if !mode.closes_itself() {
            return (state, answer);
        }
        if let [Value::Boolean(false), Value::Bytes(text)] = &answer[..] {
            eprintln!("{}", String::from_utf8_lossy(text));
        }
        drop(state);
        (None, answer)
    })
}

/// `llthreads.new(f or source, ...)`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn new(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. All that is read goes into the job, which the userdata owns, before anything raises.
    unsafe {
        let kind = lua_type(l, 1);
        if kind != LUA_TFUNCTION && kind != LUA_TSTRING {
            luaL_argerror(l, 1, c"function or string expected".as_ptr());
        }
        // 5.5's `lua_dump` does not look: it would take a C function for a Lua function.
        if lua_iscfunction(l, 1) != 0 {
            luaL_argerror(l, 1, c"unable to dump given function".as_ptr());
        }
        check_all(l, 2);
        let args = lua_gettop(l);
        luaL_checkstack(l, 8, std::ptr::null());
        let thread = push_new::<Thread>(l);
        let Stage::New(job) = &mut (*thread).0 else {
            unreachable!("a new thread object has not started")
        };
        // Nobody else knows the object yet, so the reference to its job stays the only one.
        lua_insert(l, 1);
        job.args = read_all(l, 3);
        debug_assert_eq!(job.args.len() as c_int, args - 1);
        if kind == LUA_TSTRING {
            job.code = bytes(l, 2).to_vec();
        } else {
            lua_pushvalue(l, 2);
            if lua_dump(l, append, (&raw mut job.code).cast(), 0) != 0 {
                return luaL_error(l, c"unable to dump given function".as_ptr());
            }
        }
        read_paths(l, job);
        lua_settop(l, 1);
    }
    1
}

/// A `lua_Writer` that appends to a `Vec<u8>`.
///
/// # Safety
/// Called by `lua_dump`, with a pointer to a `Vec<u8>` that nobody else uses meanwhile.
unsafe extern "C-unwind" fn append(
    _: *mut lua_State,
    part: *const c_void,
    len: usize,
    code: *mut c_void,
) -> c_int {
    // 5.5 ends with a part that is null and empty.
    if len != 0 {
        // SAFETY: by the caller; `part` has `len` bytes.
        unsafe {
            let part = std::slice::from_raw_parts(part.cast::<u8>(), len);
            (*code.cast::<Vec<u8>>()).extend_from_slice(part);
        }
    }
    0
}

/// Reads `package.path` and `package.cpath`, if there are such strings.
///
/// # Safety
/// `l` is a live state on its own thread with three free stack slots; the job belongs to a userdata. May raise.
unsafe fn read_paths(l: *mut lua_State, job: &mut Job) {
    // SAFETY: by the caller.
    unsafe {
        lua_getglobal(l, c"package".as_ptr());
        if lua_type(l, -1) != LUA_TTABLE {
            return;
        }
        for (name, path) in PATHS.iter().zip(&mut job.paths) {
            lua_getfield(l, -1, name.as_ptr());
            if lua_type(l, -1) == LUA_TSTRING {
                *path = Some(bytes(l, -1).into());
            }
            lua_pop(l, 1);
        }
    }
}

/// `thread:start([detached [, joinable]])`: the thread itself, or nil and why not.
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn start(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        let thread = check::<Thread>(l, 1);
        let detached = lua_toboolean(l, 2) != 0;
        let joinable = if lua_isnone(l, 3) != 0 {
            !detached
        } else {
            lua_toboolean(l, 3) != 0
        };
        if let Err(why) = (*thread).start(Mode { detached, joinable }) {
            return refuse(l, why);
        }
        lua_settop(l, 1);
    }
    1
}

/// `thread:join([0])`
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn join(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. Waiting and closing the other state touch nothing of this one; the answer goes into a userdata
    // that only this call knows.
    unsafe {
        let thread = check::<Thread>(l, 1);
        let wait = luaL_optinteger(l, 2, -1) != 0;
        let received = push_new::<Received>(l);
        if let Some(why) = (*thread).refusal(wait) {
            return refuse(l, why);
        }
        (*received).0 = (*thread).join();
        push_received(l, received)
    }
}

/// Pushes nil and the reason.
///
/// # Safety
/// `l` is a live state on its own thread, with two free stack slots. May raise a memory error.
unsafe fn refuse(l: *mut lua_State, why: &'static CStr) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        lua_pushnil(l);
        lua_pushstring(l, why.as_ptr());
    }
    2
}
