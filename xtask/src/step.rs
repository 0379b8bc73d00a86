//! `cargo xtask step`: an interrupt before every single machine instruction of what matters; see `crates/stress/src/bin/leash-step`.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::engine::Engine;
use crate::process;
use crate::steps::Steps;
use crate::stress;

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "\
Linux on x86-64 only.

Examples:
  cargo xtask step                                 every instruction, on all engines
  cargo xtask step lua54 -- --only sethook         one stretch (--list names them)
  cargo xtask step lua54 -- --only sethook --mode kill --at 3466 --times 100
                                                   one instruction, as a failure names it")]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,

    /// Most seconds for each stretch in each of the two modes: a sample, taken at random
    #[arg(long)]
    seconds: Option<f64>,

    /// Options for the program itself
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The longest collection of the slowest engine, every instruction of it.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// For each stretch in each mode, where there is little time: an engine takes ten seconds.
pub const SAMPLE: f64 = 0.1;

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    for engine in Engine::or_all(&options.engines) {
        let again = format!("cargo xtask step {engine}");
        steps.run(&format!("{engine}: single-stepping"), &again, || {
            let done = check(engine, options.seconds, &options.rest)?;
            ensure!(done, "it cannot be done here");
            Ok(())
        })?;
    }
    steps.finish();
    Ok(())
}

/// The program's exit code where the system does not allow what is needed, as in some containers.
const NO_BREAKPOINTS: i32 = 77;

/// Builds the program for an engine and runs it. False if that cannot be done on this machine, of which the program has told.
pub fn check(engine: Engine, seconds: Option<f64>, rest: &[String]) -> Result<bool> {
    let program = stress::build(engine, "leash-step", &[], &[])?;
    let mut command = process::command(&program);
    if let Some(seconds) = seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    command.args(rest);
    let outcome = process::run(&mut command, PATIENCE)?;
    if outcome.code == NO_BREAKPOINTS {
        return Ok(false);
    }
    ensure!(
        outcome.code == 0,
        "exit code {}: {}",
        outcome.code,
        process::show(&command)
    );
    Ok(true)
}
