//! `cargo xtask surroundings`: the hostile scripts of `tests/lua/evasion`, each in every surrounding of `tests/lua/support/surroundings.lua`.
//!
//! `cargo xtask test` runs them straight in a call, a watched coroutine and `leash run`. But most of the bugs that they have found were in how two things met, a finalizer and a guarded function, say. So here
//! each runs in a coroutine, a metamethod, a finalizer, a hook, inside `pcall` and `table.sort`, and so on: two thousand runs for each engine, too many for every test.
//!
//! What could go wrong: a machine so busy that a script is given up before it is stopped. It is given half a minute.

use anyhow::Result;
use clap::Args;

use crate::cargo::{self, Profile};
use crate::engine::Engine;
use crate::steps::Steps;
use crate::suites;

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "It takes four minutes for each engine.")]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    for engine in Engine::or_all(&options.engines) {
        let again = format!("cargo xtask surroundings {engine}");
        steps.run(&format!("{engine}: surroundings"), &again, || {
            suites::surroundings(&cargo::leash(engine, Profile::Debug)?)
        })?;
    }
    steps.finish();
    Ok(())
}
