//! `cargo xtask test`: everything that has to hold.
//!
//! First what is quick and common to all engines, then each engine as a whole: library, command, corpus, examples. So the
//! first failure comes early, and belongs to one engine.

use std::fs;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::ahead::Ahead;
use crate::cargo::{self, Leash, Profile};
use crate::engine::Engine;
use crate::steps::Steps;
use crate::{corpus, examples, lint, process, rocks, sanitize, step, stress, suites};

/// What to test.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                         everything
  cargo xtask test --quick                 lua54 and luajit, without clippy
  cargo xtask test lua51                   one engine
  cargo xtask test lua51 --only corpus     one part of it

The corpus is compared with the standard interpreters as Debian names them, lua5.1 to lua5.4 and luajit;
where one is missing, with a plain interpreter around the same Lua library.")]
pub struct Options {
    /// The engines; all six if none is named
    #[arg(value_name = "ENGINE")]
    engines: Vec<Engine>,

    /// Only lua54 and luajit unless engines are named, and no clippy
    #[arg(long)]
    quick: bool,

    /// Only this part; may be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting, and clippy for lua54 and luajit
    Lint,
    /// The crate watchdog: tests, loom's models, examples in its documentation
    Watchdog,
    /// The tests of this command
    Xtask,
    /// For each engine, the crate lua-leash
    Engine,
    /// For each engine, a few seconds of `cargo xtask stress` (under `sanitize`, if that is run too, for lua54)
    Stress,
    /// For each engine, a sample of `cargo xtask step`
    Step,
    /// For lua54, a minute of `cargo xtask sanitize address`
    Sanitize,
    /// For each engine, the command's tests
    Cli,
    /// For each engine, tests/corpus under Leash and without
    Corpus,
    /// For each engine, examples/ under limits
    Examples,
    /// For each engine, the Lua modules: their suites and examples, in a real interpreter
    Modules,
    /// For each engine that LuaRocks is set up for: `luarocks make`, and the modules that it installs
    Rocks,
}

/// Enough for each scenario to be tried a few hundred times.
const STRESS_SECONDS: u32 = 5;

/// Whose stress runs under AddressSanitizer, for there is no time to build all: the default of the command.
const SANITIZED: Engine = Engine::Lua54;
const SANITIZED_SECONDS: u32 = 60;

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether the stress of this engine runs under AddressSanitizer.
    fn sanitizes(&self, engine: Engine) -> bool {
        self.wants(Part::Sanitize) && engine == SANITIZED
    }

    fn engines(&self) -> Vec<Engine> {
        match self.engines[..] {
            [] if self.quick => vec![Engine::Lua54, Engine::Luajit],
            _ => Engine::or_all(&self.engines),
        }
    }
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    process::heed_ctrl_c();
    let log = cargo::target().join("test.log");
    let _ = fs::remove_file(&log); // of another run
    fs::create_dir_all(cargo::target()).context("cannot make the target folder")?;
    let mut steps = Steps::brief(log);
    let engines = options.engines();
    if options.wants(Part::Lint) {
        lint::format(&mut steps)?;
    }
    if options.wants(Part::Watchdog) {
        // The models of loom are among its tests: they need neither a `cfg` nor a release build.
        let arguments = ["test", "--quiet", "--package", "watchdog"];
        steps.run(
            "watchdog: tests, loom models, doc tests",
            "cargo test -p watchdog",
            || cargo::run(&arguments),
        )?;
    }
    if options.wants(Part::Xtask) {
        let arguments = ["test", "--quiet", "--package", "xtask"];
        steps.run("xtask: tests", "cargo test -p xtask", || {
            cargo::run(&arguments)
        })?;
    }
    // A part alone begins with what it needs.
    let builds = options.only.is_empty().then(|| suites::builds(&engines));
    let _ahead = builds.transpose()?.map(Ahead::run);
    for &engine in &engines {
        whole_engine(&mut steps, options, engine)?;
    }
    if options.wants(Part::Lint) && !options.quick {
        for engine in [Engine::Lua54, Engine::Luajit] {
            if engines.contains(&engine) {
                lint::clippy(&mut steps, engine)?;
            }
        }
    }
    steps.finish();
    Ok(())
}

fn whole_engine(steps: &mut Steps, options: &Options, engine: Engine) -> Result<()> {
    if options.wants(Part::Engine) {
        crate_test(steps, engine, "lua-leash", &format!("{engine},vendored"))?;
    }
    if options.wants(Part::Stress) && !options.sanitizes(engine) {
        let again = format!("cargo xtask stress {engine} --seconds {STRESS_SECONDS}");
        steps.run(&format!("{engine}: stress"), &again, || {
            stress::check(engine, STRESS_SECONDS, &[])
        })?;
    }
    if options.wants(Part::Step) {
        let seconds = step::SAMPLE;
        let again = format!("cargo xtask step {engine} --seconds {seconds}");
        steps.run(&format!("{engine}: single-stepping"), &again, || {
            if !step::check(engine, Some(seconds), &[])? {
                println!("{engine}: not single-stepped: this machine does not allow it");
            }
            Ok(())
        })?;
    }
    if options.sanitizes(engine) {
        let seconds = SANITIZED_SECONDS;
        let again =
            format!("cargo xtask sanitize address {engine} --seconds {seconds} --only-stress");
        steps.run(&format!("{engine}: stress, address"), &again, || {
            if sanitize::check(engine, seconds)? {
                return Ok(());
            }
            println!("{engine}: no sanitizer, which takes the nightly toolchain and clang");
            stress::check(engine, STRESS_SECONDS, &[])
        })?;
    }
    if options.wants(Part::Cli) {
        crate_test(steps, engine, "leash-cli", engine.name())?;
    }
    if options.wants(Part::Corpus) {
        with_command(steps, engine, "corpus", corpus::check)?;
    }
    if options.wants(Part::Examples) {
        with_command(steps, engine, "examples", examples::check)?;
    }
    if options.wants(Part::Modules) {
        with_command(steps, engine, "modules", suites::check)?;
    }
    if options.wants(Part::Rocks) {
        let again = format!("cargo xtask test {engine} --only rocks");
        steps.run(&format!("{engine}: rocks"), &again, || rocks::check(engine))?;
    }
    Ok(())
}

fn crate_test(steps: &mut Steps, engine: Engine, package: &str, features: &str) -> Result<()> {
    let rest = format!("-p {package} --no-default-features --features {features}");
    let line = format!("test --quiet {rest}");
    let arguments: Vec<&str> = line.split(' ').collect();
    let name = format!("{engine}: tests of {package}");
    steps.run(&name, &format!("cargo test {rest}"), || {
        cargo::run(&arguments)
    })
}

fn with_command(
    steps: &mut Steps,
    engine: Engine,
    part: &str,
    check: impl FnOnce(&Leash) -> Result<()>,
) -> Result<()> {
    let again = format!("cargo xtask test {engine} --only {part}");
    steps.run(&format!("{engine}: {part}"), &again, || {
        check(&cargo::leash(engine, Profile::Debug)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(engines: &[Engine], quick: bool, only: &[Part]) -> Options {
        Options {
            engines: engines.to_vec(),
            quick,
            only: only.to_vec(),
        }
    }

    #[test]
    fn quick_is_two_engines_unless_some_are_named() {
        assert_eq!(options(&[], false, &[]).engines(), Engine::ALL);
        assert_eq!(
            options(&[], true, &[]).engines(),
            [Engine::Lua54, Engine::Luajit]
        );
        assert_eq!(
            options(&[Engine::Lua51], true, &[]).engines(),
            [Engine::Lua51]
        );
    }

    #[test]
    fn only_leaves_out_the_rest() {
        assert!(options(&[], false, &[]).wants(Part::Lint));
        let options = options(&[], false, &[Part::Corpus]);
        assert!(options.wants(Part::Corpus) && !options.wants(Part::Lint));
    }
}
