//! The standard interpreter: what `lua.c` does between making a state and closing it.
//!
//! One function, [`pmain`], does all of it, inside one protected call that the engine guards: open the libraries, build `arg`,
//! run `LUA_INIT`, the options, the script. Each piece of Lua runs in a protected call of its own with a message handler
//! that adds a traceback, so the stack looks to the script as it does in `lua`, level for level.
//!
//! A stop by the engine unwinds to the outer call, through each of the inner ones. An inner call therefore goes through the
//! engine too: it tells a stop that passes, about which nothing is to be printed here, from an error of the script.
//!
//! A Lua error, and a stop by the engine, leaves these functions by `longjmp`. So they hold numbers and pointers only; what
//! owns memory stays in the [`crate::plan::Plan`] outside.
//!
//! The versions of `lua.c` differ in small, visible ways; all that is in [`crate::compat`].

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use leash::{Limits, Stop, Vm};
use mlua_sys as ffi;
use mlua_sys::lua_State;

use crate::plan::{Script, StepView, View};
use crate::{compat, stdio};

/// What [`pmain`] gets: the guarded state that it runs in, and what to run.
#[derive(Clone, Copy)]
pub struct Job {
    /// The state.
    pub vm: *const Vm,
    /// What to run. Its plan is alive.
    pub view: View,
    /// Where the report goes if an inner call meets a stop. The frame that owns this is outside of the protected call.
    pub stop: *mut Option<Box<Stop>>,
}

/// Does everything, in a protected call. Takes a [`Job`] as a light userdata and returns whether all went well.
///
/// # Safety
/// To be called by Lua, with one argument: the address of a [`Job`] whose parts outlive the call.
pub unsafe extern "C-unwind" fn pmain(l: *mut lua_State) -> c_int {
    // SAFETY: Lua passes a valid state; the argument is what the caller promised.
    unsafe {
        let job = *ffi::lua_touserdata(l, 1).cast::<Job>();
        if job.view.ignore_environment {
            ffi::lua_pushboolean(l, 1);
            ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, c"LUA_NOENV".as_ptr());
        }
        compat::open_libraries(l, job.view.ignore_environment);
        (*job.vm).libraries_are_open();
        if job.view.guard_stdlib {
            guard_stdlib(l);
        }
        compat::create_early_arg_table(l, &job.view);
        compat::start_collector(l);
        let done = (job.view.ignore_environment || handle_init(l, &job) == ffi::LUA_OK)
            && run_steps(l, &job)
            && run_script(l, &job);
        ffi::lua_pushboolean(l, c_int::from(done));
        1
    }
}

/// Puts functions that can be stopped into the place of basic functions and of those of the libraries `string` and `table` ([`leash::stdlib`]). The table `string` is also where strings have
/// their methods.
///
/// # Safety
/// `l` is the state of the job, its libraries are open and no script has run, and its running function may raise errors.
unsafe fn guard_stdlib(l: *mut lua_State) {
    // SAFETY: as promised.
    unsafe {
        for library in [c"_G", c"string", c"table"] {
            ffi::lua_getglobal(l, library.as_ptr());
            leash::stdlib::guard(l, -1);
            ffi::lua_pop(l, 1);
        }
    }
}

/// Runs what the environment variable `LUA_INIT` says, code or `@file`.
///
/// # Safety
/// `l` is the state of the job, and its running function may raise errors. What the job points to is alive.
unsafe fn handle_init(l: *mut lua_State, job: &Job) -> c_int {
    // SAFETY: the names are C strings with a `=` in front, which `getenv` gets without; `init` is read before anything
    // that could change the environment runs.
    unsafe {
        let mut name = ptr::null();
        let mut init = ptr::null();
        for candidate in compat::INIT_VARIABLES {
            name = candidate.as_ptr();
            init = libc::getenv(name.add(1));
            if !init.is_null() {
                break;
            }
        }
        if init.is_null() {
            ffi::LUA_OK
        } else if *init == b'@' as c_char {
            do_chunk(l, job, ffi::luaL_loadfile(l, init.add(1)))
        } else {
            do_string(l, job, init, name)
        }
    }
}

/// Runs `-e`, `-l` and `-W` in their order. False as soon as one fails.
///
/// # Safety
/// As [`handle_init`].
unsafe fn run_steps(l: *mut lua_State, job: &Job) -> bool {
    // SAFETY: the view has `step_count` steps, whose pointers are C strings that the plan owns.
    unsafe {
        compat::warnings_off(l);
        for i in 0..job.view.step_count {
            let status = match *job.view.steps.add(i) {
                StepView::Execute(code) => do_string(l, job, code, c"=(command line)".as_ptr()),
                StepView::Library(module, global) => do_library(l, job, module, global),
                StepView::Warnings => {
                    compat::warnings_on(l);
                    ffi::LUA_OK
                }
            };
            if status != ffi::LUA_OK {
                return false;
            }
        }
        true
    }
}

/// Runs the script, if there is one.
///
/// # Safety
/// As [`run_steps`].
unsafe fn run_script(l: *mut lua_State, job: &Job) -> bool {
    // SAFETY: passes on what was promised.
    unsafe {
        match job.view.script {
            Script::None => true,
            // As in `lua`: the exit code is 0 even if the chunk failed (it says `dofile(L, NULL)` there and drops the result).
            // `leash run -` reports it.
            Script::PipedInput => {
                do_chunk(l, job, ffi::luaL_loadfile(l, ptr::null()));
                true
            }
            Script::Given { index, file } => handle_script(l, job, index, file) == ffi::LUA_OK,
        }
    }
}

/// Loads the script and calls it with the arguments.
///
/// # Safety
/// As [`run_steps`].
unsafe fn handle_script(l: *mut lua_State, job: &Job, index: c_int, file: *const c_char) -> c_int {
    // SAFETY: passes on what was promised; `file` is null or a C string.
    unsafe {
        compat::create_late_arg_table(l, &job.view, index);
        let mut status = ffi::luaL_loadfile(l, file);
        if status == ffi::LUA_OK {
            let count = compat::push_arguments(l, &job.view, index);
            status = do_call(l, job, count, ffi::LUA_MULTRET);
        }
        report(l, status)
    }
}

/// Calls what was loaded, with `status`, if it was.
///
/// # Safety
/// As [`handle_init`]; the chunk or an error message is on the top of the stack.
unsafe fn do_chunk(l: *mut lua_State, job: &Job, status: c_int) -> c_int {
    // SAFETY: passes on what was promised.
    unsafe {
        let status = if status == ffi::LUA_OK {
            do_call(l, job, 0, 0)
        } else {
            status
        };
        report(l, status)
    }
}

/// Runs a string of code.
///
/// # Safety
/// As [`handle_init`]; both are C strings.
unsafe fn do_string(
    l: *mut lua_State,
    job: &Job,
    code: *const c_char,
    name: *const c_char,
) -> c_int {
    // SAFETY: passes on what was promised.
    unsafe {
        do_chunk(
            l,
            job,
            ffi::luaL_loadbuffer(l, code, libc::strlen(code), name),
        )
    }
}

/// Requires a module and keeps it in a global variable if it is named.
///
/// # Safety
/// As [`handle_init`]; `module` is a C string, `global` is one or null.
unsafe fn do_library(
    l: *mut lua_State,
    job: &Job,
    module: *const c_char,
    global: *const c_char,
) -> c_int {
    // SAFETY: passes on what was promised. With one result, or an error, there is something to set or to report.
    unsafe {
        ffi::lua_getglobal(l, c"require".as_ptr());
        ffi::lua_pushstring(l, module);
        let status = do_call(l, job, 1, c_int::from(!global.is_null()));
        if status == ffi::LUA_OK && !global.is_null() {
            ffi::lua_setglobal(l, global);
        }
        report(l, status)
    }
}

/// Calls the function below `count` arguments, in a protected call with a traceback for errors.
///
/// # Safety
/// As [`handle_init`]; the function and its arguments are on the stack.
unsafe fn do_call(l: *mut lua_State, job: &Job, count: c_int, results: c_int) -> c_int {
    // SAFETY: `base` is the function's index, so the handler goes below it and is what is removed afterwards.
    unsafe {
        let base = ffi::lua_gettop(l) - count;
        ffi::lua_pushcfunction(l, compat::message_handler);
        ffi::lua_insert(l, base);
        let Some(status) = guarded_call(l, job, count, results, base) else {
            ffi::lua_pushnil(l);
            ffi::lua_error(l); // to the outer call, which knows about the stop
        };
        ffi::lua_remove(l, base);
        compat::after_call(l, status);
        status
    }
}

/// `lua_pcall`; none if a stop is on its way out. A frame of its own, so that nothing owned is alive when the caller goes on.
///
/// # Safety
/// As `lua_pcall`.
unsafe fn guarded_call(
    l: *mut lua_State,
    job: &Job,
    count: c_int,
    results: c_int,
    handler: c_int,
) -> Option<c_int> {
    // SAFETY: as promised; the job's state is alive, and nothing else uses its slot for the report meanwhile. No limits of
    // its own: those of the outer call are in force.
    unsafe {
        match (&*job.vm).call(l, count, results, handler, &Limits::new()) {
            Ok(status) => Some(status),
            Err(stop) => {
                *job.stop = Some(stop);
                None
            }
        }
    }
}

/// Prints the error on the top of the stack, if `status` says that there is one. Returns the status.
///
/// A stop that is due comes first, for it may be the cause: it has ended the system call that was to read the script. By then the
/// hook is set, but no Lua runs any more that would meet it.
///
/// # Safety
/// As [`handle_init`].
unsafe fn report(l: *mut lua_State, status: c_int) -> c_int {
    // SAFETY: an error status comes with an error object on the top of the stack, and there is room for one value more. A stop
    // leaves by `longjmp`, to the outer call; nothing is owned here.
    unsafe {
        if status != ffi::LUA_OK {
            leash::stdlib::look_up(l);
        }
        if status != ffi::LUA_OK && !(compat::NIL_IS_SILENT && ffi::lua_isnil(l, -1) != 0) {
            let mut message = ffi::lua_tostring(l, -1);
            if message.is_null() {
                message = compat::NOT_A_STRING.as_ptr();
            }
            stdio::c_message(message);
            ffi::lua_pop(l, 1);
            compat::after_report(l);
        }
        status
    }
}

/// Prints the error that ended [`pmain`] itself, outside any protected call: so it must not raise another.
///
/// # Safety
/// `l` is a valid state with the error object on the top of its stack.
pub unsafe fn final_report(l: *mut lua_State) {
    // SAFETY: `lua_tostring` allocates nothing if the value is a string already.
    unsafe {
        let message = if ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
            ffi::lua_tostring(l, -1)
        } else {
            compat::NOT_A_STRING.as_ptr()
        };
        stdio::message_bytes(CStr::from_ptr(message).to_bytes());
        ffi::lua_pop(l, 1);
    }
}
