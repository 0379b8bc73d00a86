//! Running code that is bounded, in several ways: by nothing, by Leash, by a count hook in Lua, by a hook of `mlua`.
//!
//! It answers as `worker.lua` does: each line of the input is a number of repetitions, the answer the CPU time that they took on this thread, in seconds. All
//! variants run the same Lua code in the same Lua library, so what differs is what bounds it.
//!
//! On LuaJIT hooks do not run in compiled code: there the compiler is off for both hooks.

use crate::{lua, process};
use leash::sys::{self, lua_State};
use leash::{Limits, Vm};
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
/// Instructions between two looks at the clock.
const EVERY: u32 = 10_000;

/// The code of a workload: a function of a number of repetitions.
fn code(workload: &str) -> &'static str {
    match workload {
        "loop" => {
            "local n, x = ..., 0
             for i = 1, n * 1000 do x = (x * 5 + i) % 1048573 end
             return x"
        }
        "tables" => {
            "local n, t, sum = ..., {}, 0
             for i = 1, 100 do t[i] = i end
             for _ = 1, n * 10 do
               for i = 1, 100 do
                 t[i] = t[i] + 1
                 sum = sum + t[i]
               end
             end
             return sum"
        }
        "calls" => {
            "local n = ...
             local function fib(n)
               if n < 2 then return n end
               return fib(n - 1) + fib(n - 2)
             end
             for _ = 1, n do fib(10) end"
        }
        "garbage" => {
            "local n, last = ...
             for i = 1, n * 30 do last = { i, tostring(i), last and last[1] } end
             return last"
        }
        _ => panic!("no such workload: {workload}"),
    }
}

/// Answers until its input ends.
pub fn run(workload: &str, variant: &str) {
    let code = code(workload);
    match variant {
        "plain" => answer(&mut in_state(loaded(code, ""), None)),
        "leash" => answer(&mut in_state(
            loaded(code, ""),
            Some(Limits::new().timeout(HOUR)),
        )),
        "hook" => answer(&mut in_state(loaded(code, &count_hook()), None)),
        "mlua" => answer(&mut in_mlua(code, false)),
        "mlua_hook" => answer(&mut in_mlua(code, true)),
        _ => panic!("no such variant: {variant}"),
    }
}

fn answer(work: &mut dyn FnMut(u32)) {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line.expect("readable");
        let repetitions = line.trim().parse().expect("a number of repetitions");
        let start = process::thread_cpu();
        work(repetitions);
        let took = process::thread_cpu() - start;
        writeln!(out, "{:.9}", took.as_secs_f64()).expect("somebody reads");
    }
}

/// Looks at the clock every [`EVERY`] instructions.
fn count_hook() -> String {
    format!(
        "if jit then jit.off() end
         local clock, start = os.clock, os.clock()
         debug.sethook(function()
           if clock() - start > 3600 then error('timeout') end
         end, '', {EVERY})"
    )
}

/// A new state that has run `before`, with the function of `code` on its stack.
fn loaded(code: &str, before: &str) -> *mut lua_State {
    let l = lua::new_state();
    lua::run(l, before).expect("it runs");
    lua::load(l, code);
    l
}

/// Pushes the function again, and its argument.
fn push(l: *mut lua_State, repetitions: u32) {
    // SAFETY: the function is the only value on the stack of this live state.
    unsafe {
        sys::lua_pushvalue(l, 1);
        sys::lua_pushinteger(l, repetitions as _);
    }
}

fn in_state(l: *mut lua_State, limits: Option<Limits>) -> impl FnMut(u32) {
    let vm = limits.map(|limits| {
        // SAFETY: a live state on this thread, which ends with the process.
        let vm = unsafe { Vm::attach(l) }.expect("it can be attached");
        lua::require_guards(vm.jit());
        // SAFETY: as above.
        unsafe { vm.libraries_are_open() };
        (vm, limits)
    });
    move |repetitions| {
        push(l, repetitions);
        // SAFETY: a function and its argument are on the stack.
        let status = unsafe {
            match &vm {
                None => sys::lua_pcall(l, 1, 0, 0),
                Some((vm, limits)) => vm.call(l, 1, 0, 0, limits).expect("no limit is reached"),
            }
        };
        assert_eq!(status, 0, "no error");
    }
}

fn in_mlua(code: &str, hooked: bool) -> impl FnMut(u32) {
    let state = mlua::Lua::new();
    if hooked {
        state
            .load("if jit then jit.off() end")
            .exec()
            .expect("it is off");
        let start = Instant::now();
        let triggers = mlua::HookTriggers::new().every_nth_instruction(EVERY);
        state
            .set_hook(triggers, move |_, _| match start.elapsed() > HOUR {
                true => Err(mlua::Error::runtime("timeout")),
                false => Ok(mlua::VmState::Continue),
            })
            .expect("it can be set");
    }
    let function = state.load(code).into_function().expect("it compiles");
    move |repetitions| {
        let _ = &state;
        function.call::<()>(repetitions).expect("no error");
    }
}
