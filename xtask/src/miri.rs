//! `cargo xtask miri`: the unsafe data structures that do not touch C, in an interpreter that knows where each pointer may point.
//!
//! It takes `rustup component add miri --toolchain nightly`. Leaks are not asked for: slabs and lists keep their memory for the life of the process.

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo;
use crate::engine::Engine;
use crate::steps::Steps;

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct Options {}

/// What the interpreter is told.
const FLAGS: &str = "-Zmiri-ignore-leaks -Zmiri-permissive-provenance";

/// What it runs, as `cargo miri test` takes it.
const TESTS: [(&str, &str); 2] = [
    ("watchdog: slots, slab, list", "-p watchdog --test parts"),
    (
        "leash: the set of coroutines, the slab, the request, spare blocks",
        "-p lua-leash --no-default-features --features ENGINE,vendored --lib -- coroutines:: lockfree:: memory::",
    ),
];

/// Runs the task.
pub fn run(_: &Options) -> Result<()> {
    let mut steps = Steps::new();
    // What miri builds is no use to anybody else.
    let target = cargo::target().join("miri");
    let target = target.to_str().context("a path in UTF-8")?.to_owned();
    let environment = [
        ("MIRIFLAGS", FLAGS.to_owned()),
        ("CARGO_TARGET_DIR", target),
    ];
    for (name, tests) in TESTS {
        // None of it depends on the engine.
        let tests = tests.replace("ENGINE", Engine::Lua54.name());
        let line = format!("+nightly miri test {tests}");
        let arguments: Vec<&str> = line.split(' ').collect();
        steps.run(name, &format!("cargo {line}"), || {
            cargo::run_in(&arguments, &environment)
        })?;
    }
    steps.finish();
    Ok(())
}
