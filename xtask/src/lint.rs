//! Formatting and clippy.
//!
//! Clippy sees the code of one engine at a time, as the compiler does, so it runs once for each.

use anyhow::Result;
use clap::Args;

use crate::cargo;
use crate::engine::Engine;
use crate::steps::Steps;

/// What to check.
#[derive(Debug, Args)]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    format(&mut steps)?;
    for engine in Engine::or_all(&options.engines) {
        clippy(&mut steps, engine)?;
    }
    steps.finish();
    Ok(())
}

/// The step that checks the formatting.
pub fn format(steps: &mut Steps) -> Result<()> {
    steps.run("formatting", "cargo fmt --all --check", || {
        cargo::run(&["fmt", "--all", "--check"])
    })
}

/// The step that runs clippy for an engine.
pub fn clippy(steps: &mut Steps, engine: Engine) -> Result<()> {
    // A feature that a package does not have is left out for it: only leash and leash-cli have engines.
    let line = format!(
        "clippy --workspace --all-targets --no-default-features --features {engine} -- -D warnings"
    );
    let arguments: Vec<&str> = line.split(' ').collect();
    steps.run(
        &format!("{engine}: clippy"),
        &format!("cargo {line}"),
        || cargo::run(&arguments),
    )
}
