//! `cargo xtask stress`: Lua states that compute, interrupted as often as possible; see `crates/stress`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::cargo;
use crate::engine::Engine;
use crate::process;
use crate::steps::Steps;

/// What to run, and for how long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask stress luajit --seconds 1800         what was run before a release
  cargo xtask stress lua54 -- --only finalizers    one scenario (--list names them)
  cargo xtask stress lua54 -- --seed 17            the choices of another run")]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,

    /// How long, for each engine
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// Options for the program itself
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The package, and its program for this task.
pub const PROGRAM: &str = "leash-stress";

/// What the program takes beyond the time that it is given, with the patience that it has itself.
pub const MARGIN: u32 = 150;

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    for engine in Engine::or_all(&options.engines) {
        let seconds = options.seconds;
        let again = format!("cargo xtask stress {engine} --seconds {seconds}");
        steps.run(&format!("{engine}: stress"), &again, || {
            check(engine, seconds, &options.rest)
        })?;
    }
    steps.finish();
    Ok(())
}

/// Builds the program for an engine and runs it.
pub fn check(engine: Engine, seconds: u32, rest: &[String]) -> Result<()> {
    let program = build(engine, PROGRAM, &[], &[])?;
    let mut command = process::command(&program);
    command.args(["--seconds", &seconds.to_string()]).args(rest);
    let patience = Duration::from_secs((seconds + MARGIN).into());
    let outcome = process::run(&mut command, patience)?;
    ensure!(
        outcome.code == 0,
        "exit code {}: {}",
        outcome.code,
        process::show(&command)
    );
    Ok(())
}

/// Builds a program of the package, with further arguments for cargo and an environment, and returns where it is.
pub fn build(
    engine: Engine,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
) -> Result<PathBuf> {
    let mut line = arguments.to_vec();
    line.extend(["build", "--package", PROGRAM, "--bin", program]);
    line.extend(["--no-default-features", "--features", engine.name()]);
    let messages = cargo::messages(&line, environment)?;
    let built = messages
        .lines()
        .filter_map(|line| executable(line, program))
        .next_back();
    let built = built.context("cargo did not say where the program is")?;
    // The next engine has the same name.
    let kept = built.with_file_name(format!("{program}-{engine}"));
    std::fs::copy(&built, kept.with_extension("new"))
        .and_then(|_| std::fs::rename(kept.with_extension("new"), &kept))
        .with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(kept)
}

/// The program, if it is what one of cargo's messages says it has built.
pub fn executable(line: &str, program: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_ours = message["target"]["name"] == program;
    let path = message["executable"].as_str().filter(|_| is_ours)?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_messages() {
        let text = r#"{"reason":"compiler-artifact","target":{"name":"leash-stress"},"executable":"/t/leash-stress"}"#;
        assert_eq!(
            executable(text, PROGRAM),
            Some(PathBuf::from("/t/leash-stress"))
        );
        for other in [
            r#"{"target":{"name":"leash"},"executable":"/t/leash"}"#,
            r#"{"target":{"name":"leash-stress"},"executable":null}"#,
            "   Compiling leash-stress",
        ] {
            assert_eq!(executable(other, PROGRAM), None);
        }
    }
}
