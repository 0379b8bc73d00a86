//! What the programs compute when nothing interrupts them: found out beforehand, in a state that Leash has never seen; on LuaJIT by
//! the interpreter.

use crate::lua;
use crate::programs::{Program, Scenario};
use leash::{ENGINE, sys};

/// Each program is run with 1, 2, .. as its argument.
pub const ARGUMENTS: usize = 4;

/// A program that this engine can run, and its values.
pub struct Piece {
    /// The program.
    pub program: &'static Program,
    /// Its value for each argument; empty for an endless one.
    pub values: Vec<String>,
}

/// A scenario of this engine.
pub struct Work {
    /// The scenario.
    pub scenario: &'static Scenario,
    /// Programs with values.
    pub values: Vec<Piece>,
    /// Programs that do not end.
    pub endless: Vec<Piece>,
}

/// Computes the values of all programs of these scenarios.
///
/// # Panics
/// If a program fails: it is wrong.
pub fn compute(scenarios: &[&'static Scenario]) -> Vec<Work> {
    let l = lua::open();
    let work = |scenario: &&'static Scenario| Work {
        scenario,
        values: pieces(scenario.values, |program| values(l, program)),
        endless: pieces(scenario.endless, |_| Vec::new()),
    };
    // SAFETY: our own state. The programs of LuaJIT may say `jit.on`, which is to do nothing here.
    unsafe {
        lua::run(l, "if jit then jit.off() jit.on = function() end require('jit.profile').start = function() end end")
            .expect("the interpreter alone");
        lua::run(l, "local function rest(ok, ...) if not ok then error((...), 0) end return true, ... end function across(_, f, ...) return rest(pcall(f, ...)) end")
            .expect("calls without limits");
    }
    let works = scenarios.iter().map(work).collect();
    // SAFETY: not used afterwards.
    unsafe { sys::lua_close(l) };
    works
}

fn pieces(
    programs: &'static [Program],
    mut values: impl FnMut(&Program) -> Vec<String>,
) -> Vec<Piece> {
    let here = programs.iter().filter(|program| program.is_for(ENGINE));
    here.map(|program| Piece {
        program,
        values: values(program),
    })
    .collect()
}

fn values(l: *mut sys::lua_State, program: &Program) -> Vec<String> {
    let one = |n: usize| match program.known {
        Some(known) => known.to_owned(),
        // SAFETY: a live state of our own, on this thread.
        None => unsafe {
            lua::load(l, program.code);
            sys::lua_pushinteger(l, n as _);
            let status = sys::lua_pcall(l, 1, 1, 0);
            let text = lua::pop(l);
            assert_eq!(status, 0, "{text}: {}", program.code);
            text
        },
    };
    (1..=ARGUMENTS).map(one).collect()
}
