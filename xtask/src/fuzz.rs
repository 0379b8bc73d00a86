//! `cargo xtask fuzz`: random programs, quantities, patterns and chunks; see `fuzz/`.
//!
//! It takes a nightly toolchain and `cargo install cargo-fuzz`. The corpus in the repository is small and only read: what a run finds to be new goes to the target
//! folder, and is where the next run begins. What makes a target fail is left in `fuzz/artifacts`.

use std::fs;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cargo;
use crate::engine::Engine;
use crate::sanitize;
use crate::steps::Steps;

/// What to run, and for how long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                                           a minute for each target, Lua 5.4
  cargo xtask fuzz programs --engine luajit --seconds 1800")]
pub struct Options {
    /// The targets; all of them if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<Target>,

    /// The engine
    #[arg(long, default_value = "lua54")]
    engine: Engine,

    /// How long, for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Lua programs that call, watch, interrupt, nest and collect, under limits
    Programs,
    /// Durations, sizes and counts of the command line
    Quantities,
    /// The guarded functions of the library string, against the originals
    Patterns,
    /// The guarded load, against the original
    Chunks,
}

/// Options of AddressSanitizer's runtime, which cargo-fuzz builds in; see `sanitize`.
const ASAN: &str = "detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1:detect_odr_violation=0";

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    for &target in Target::value_variants() {
        if !options.targets.is_empty() && !options.targets.contains(&target) {
            continue;
        }
        let name = target.to_possible_value().context("a target has a name")?;
        let name = name.get_name();
        let (engine, seconds) = (options.engine, options.seconds);
        let found = cargo::target().join("fuzz-corpus").join(name);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let found = found.to_str().context("a path in UTF-8")?;
        let kept = cargo::root().join("fuzz/corpus").join(name);
        let kept = kept.to_str().context("a path in UTF-8")?;
        let folder = cargo::root().join("fuzz");
        let folder = folder.to_str().context("a path in UTF-8")?;
        let limit = format!("-max_total_time={seconds}");
        let arguments = [
            "+nightly",
            "fuzz",
            "run",
            "--fuzz-dir",
            folder,
            "--no-default-features",
            "--features",
            engine.name(),
            name,
            found,
            kept,
            "--",
            &limit,
            // A run that takes longer does not end.
            "-timeout=60",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ];
        let built = cargo::target().join("fuzz");
        let mut environment = vec![
            ("ASAN_OPTIONS", ASAN.to_owned()),
            ("CARGO_TARGET_DIR", built.display().to_string()),
        ];
        let unchecked = sanitize::unchecked(engine);
        if !unchecked.is_empty() {
            environment.push(("CC", "clang".to_owned()));
            environment.push(("CFLAGS", unchecked));
        }
        let again = format!("cargo xtask fuzz {name} --engine {engine} --seconds {seconds}");
        steps.run(&format!("{engine}: fuzzing {name}"), &again, || {
            cargo::run_in(&arguments, &environment)
        })?;
    }
    steps.finish();
    Ok(())
}
