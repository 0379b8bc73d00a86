//! What runs in the new thread: a new Lua state, one function in it, and what becomes of it.
//!
//! As in llthreads2 the state outlives its thread if somebody may join: the one who joins closes it, from another OS thread.
//! That is on purpose here, since mtint has to stand it.

use std::ffi::{CStr, c_int, c_void};

use mlua_sys::*;

use crate::value::{Value, bytes, push_all, read_all};

/// What to run, and in which surroundings.
#[derive(Default)]
pub struct Job {
    /// A dumped function or source text.
    pub code: Vec<u8>,
    /// Its arguments.
    pub args: Vec<Value>,
    /// `package.path` and `package.cpath` of the state that asked; none if it has no such string.
    pub paths: [Option<Box<[u8]>>; 2],
}

/// The fields of `package` in [`Job::paths`].
pub const PATHS: [&CStr; 2] = [c"path", c"cpath"];

/// What `join` returns: `true` and the results, or `false` and the message.
pub type Answer = Vec<Value>;

/// A Lua state, closed by dropping it, in whichever thread.
pub struct State(*mut lua_State);

// SAFETY: a Lua state is memory like any other; only one thread uses it at a time, since it has one owner.
unsafe impl Send for State {}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the state is ours, and nothing runs in it: its thread has left it.
        unsafe { lua_close(self.0) };
    }
}

/// A job and where its answer goes, for [`body`].
struct Run<'a> {
    job: &'a Job,
    answer: Answer,
}

/// Runs the job in a new state. Returns the state, still open, and the answer.
pub fn run(job: &Job) -> (Option<State>, Answer) {
    // SAFETY: it takes nothing.
    let l = unsafe { luaL_newstate() };
    if l.is_null() {
        return (None, failure(b"not enough memory"));
    }
    let state = State(l);
    let mut run = Run {
        job,
        answer: Answer::new(),
    };
    // SAFETY: a new state on this thread, and `body` expects a `Run`.
    let status = unsafe { protected(l, body, (&raw mut run).cast()) };
    if status != 0 {
        // An error outside of the job itself: there is no memory for its surroundings.
        // SAFETY: the error object is on the top of the stack.
        run.answer = unsafe { failure(message(l)) };
    }
    (Some(state), run.answer)
}

/// The answer of a job that failed, in llthreads2's words.
pub fn failure(message: &[u8]) -> Answer {
    let text = [b"Error from child thread: ", message].concat();
    vec![Value::Boolean(false), Value::Bytes(text.into())]
}

/// The error message on the top of the stack.
///
/// # Safety
/// The stack of `l` is not empty, and stays as it is while the slice is used.
unsafe fn message<'a>(l: *mut lua_State) -> &'a [u8] {
    // SAFETY: by the caller.
    unsafe {
        if lua_type(l, -1) == LUA_TSTRING {
            bytes(l, -1)
        } else {
            b"(error object is not a string)"
        }
    }
}

/// `lua_pcall` of a C function that allocates nothing before the protection is in force.
///
/// # Safety
/// `l` is live and on this thread; `ud` is what `f` expects.
unsafe fn protected(l: *mut lua_State, f: lua_CFunction, ud: *mut c_void) -> c_int {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    // SAFETY: by the caller. A C function is an object here: `lua_cpcall` makes it inside of the protection.
    unsafe {
        lua_cpcall(l, f, ud)
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    // SAFETY: by the caller. Light C functions and light userdata are plain values.
    unsafe {
        lua_pushcfunction(l, f);
        lua_pushlightuserdata(l, ud);
        lua_pcall(l, 1, 0, 0)
    }
}

/// Sets up the state, runs the job and reads the answer, all of it under protection.
///
/// # Safety
/// Called by [`run`] through Lua, with a pointer to a [`Run`].
unsafe extern "C-unwind" fn body(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller. An error ends this frame only, which owns nothing; the `Run` belongs to the frame of `run`.
    unsafe {
        let run = lua_touserdata(l, 1).cast::<Run>();
        let job = (*run).job;
        lua_settop(l, 0);
        luaL_openlibs(l);
        take_paths(l, job);

        lua_pushcfunction(l, add_traceback);
        let name = c"=(loadstring)";
        let mut status =
            luaL_loadbuffer(l, job.code.as_ptr().cast(), job.code.len(), name.as_ptr());
        if status == 0 {
            let n = push_all(l, &job.args);
            status = lua_pcall(l, n, LUA_MULTRET, 1);
        }
        // From here on nothing raises.
        (*run).answer = if status == 0 {
            results(l)
        } else {
            failure(message(l))
        };
    }
    0
}

/// The answer of a job that ended well, with its results above the handler on the stack.
///
/// # Safety
/// As [`read_all`].
unsafe fn results(l: *mut lua_State) -> Answer {
    // SAFETY: by the caller.
    unsafe {
        let mut answer = read_all(l, 2);
        let first_bad = answer.len() as c_int + 2;
        if first_bad <= lua_gettop(l) {
            let name = CStr::from_ptr(lua_typename(l, lua_type(l, first_bad)));
            let text = [b"a result is a ", name.to_bytes()].concat();
            return failure(&text);
        }
        answer.insert(0, Value::Boolean(true));
        answer
    }
}

/// Sets `package.path` and `package.cpath`.
///
/// # Safety
/// The state has its libraries. May raise a memory error.
unsafe fn take_paths(l: *mut lua_State, job: &Job) {
    // SAFETY: by the caller.
    unsafe {
        lua_getglobal(l, c"package".as_ptr());
        for (name, path) in PATHS.iter().zip(&job.paths) {
            if let Some(path) = path {
                lua_pushlstring(l, path.as_ptr().cast(), path.len());
                lua_setfield(l, -2, name.as_ptr());
            }
        }
        lua_settop(l, 0);
    }
}

/// The message handler: what the `lua` command does with an error.
///
/// # Safety
/// Called by Lua.
unsafe extern "C-unwind" fn add_traceback(l: *mut lua_State) -> c_int {
    // SAFETY: by the caller.
    unsafe {
        let mut message = lua_tostring(l, 1);
        if message.is_null() {
            if luaL_callmeta(l, 1, c"__tostring".as_ptr()) != 0 && lua_type(l, -1) == LUA_TSTRING {
                return 1;
            }
            let name = lua_typename(l, lua_type(l, 1));
            message = lua_pushfstring(l, c"(error object is a %s value)".as_ptr(), name);
        }
        luaL_traceback(l, l, message, 1);
    }
    1
}
