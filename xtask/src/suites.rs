//! The Lua suites of the modules: `tests/lua/*.lua` in a real interpreter, and the examples of the modules.
//!
//! What is loaded is what a user would load: `target/modules/ENGINE`, on `LUA_PATH` and `LUA_CPATH` alone, in the standard
//! interpreter; where that is not installed (there is no Debian package of Lua 5.5), in a plain one around the vendored library. The
//! threads and the message queues that some of them need come from `crates/testthreads`, which is never shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Leash};
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use crate::{ctrlc, limits, modules, parallel, process};

/// A suite takes a few seconds; one that hangs is to be told, not waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// The hostile scripts take as long as all other suites together: so they are run in so many parts.
const PARTS: usize = 4;

/// The same in all surroundings: a part takes half a minute.
const SURROUNDED_PARTS: usize = 20;

/// The crate that is the threads, queues and signals of the suites.
const THREADS: &str = "leash-testthreads";

/// One of the runs.
enum Job<'a> {
    /// A script with its arguments.
    Script(&'a Interpreter, PathBuf, Vec<String>),
    /// [`crate::ctrlc`].
    CtrlC(&'a Interpreter),
}

/// What cargo is asked to build for the suites of these engines, to have it done before.
pub fn builds(engines: &[Engine]) -> Result<Vec<Command>> {
    let of = |&engine| [(engine, modules::PACKAGE), (engine, THREADS)];
    let all = engines.iter().flat_map(of);
    all.map(|(engine, package)| Ok(cargo::command(modules::arguments(engine, package)?)))
        .collect()
}

/// Builds the modules for the engine of `leash` and runs everything with them.
pub fn check(leash: &Leash) -> Result<()> {
    let modules = modules::build(leash.engine)?;
    let threads = test_threads(leash)?;
    let mut interpreters = vec![Interpreter::reference(leash)?];
    if leash.engine == Engine::Luajit && Interpreter::stock(Engine::Luajit).is_some() {
        // Debian's LuaJIT is of 2022, the vendored one of 2026: what they do inside differs more than releases of Lua do.
        interpreters.push(Interpreter::plain(leash)?);
    }
    let mut jobs = Vec::new();
    for interpreter in &interpreters {
        for part in 1..=PARTS {
            let arguments = ["--part".to_owned(), part.to_string(), PARTS.to_string()];
            jobs.push(Job::Script(interpreter, hostile(), arguments.into()));
        }
        for folder in ["tests/lua", "examples/mtint", "examples/corowatch"] {
            let mut scripts = scripts(&cargo::root().join(folder))?;
            scripts.retain(|script| *script != hostile());
            let job = |script| Job::Script(interpreter, script, Vec::new());
            jobs.extend(scripts.into_iter().map(job));
        }
        jobs.push(Job::CtrlC(interpreter));
    }
    parallel::each(&jobs, parallel::that_wait(), |job| match job {
        Job::Script(interpreter, script, arguments) => {
            run(interpreter, script, arguments, &modules, &threads, None)
        }
        Job::CtrlC(interpreter) => ctrlc::check(interpreter, &modules, &threads),
    })?;
    if leash.engine == Engine::Lua51 {
        in_luajit(&modules)?;
    }
    Ok(())
}

/// The hostile scripts alone, one at a time. Their outcomes go to this file.
pub fn evasion(leash: &Leash, outcomes: &Path) -> Result<()> {
    let modules = modules::build(leash.engine)?;
    let threads = test_threads(leash)?;
    let interpreter = Interpreter::reference(leash)?;
    let script = hostile();
    run(
        &interpreter,
        &script,
        &[],
        &modules,
        &threads,
        Some(outcomes),
    )
}

/// The hostile scripts in all surroundings, several at a time.
pub fn surroundings(leash: &Leash) -> Result<()> {
    let modules = modules::build(leash.engine)?;
    let threads = test_threads(leash)?;
    let interpreter = Interpreter::reference(leash)?;
    let parts: Vec<usize> = (1..=SURROUNDED_PARTS).collect();
    let all = SURROUNDED_PARTS.to_string();
    parallel::each(&parts, parallel::processors(), |part| {
        let arguments = ["--surroundings", "--part", &part.to_string(), &all];
        let arguments = arguments.map(str::to_owned);
        let script = hostile();
        run(&interpreter, &script, &arguments, &modules, &threads, None)
    })?;
    Ok(())
}

/// The suite of hostile scripts.
fn hostile() -> PathBuf {
    cargo::root().join("tests/lua/evasion.lua")
}

/// LuaJIT can load a library for 5.1, whose API it has. It must be told off, not served.
fn in_luajit(modules: &Path) -> Result<()> {
    let Some(luajit) = Interpreter::stock(Engine::Luajit) else {
        println!("luajit is not installed: whether it refuses the library for 5.1 was not seen");
        return Ok(());
    };
    let mut command = luajit.command();
    command
        .args(["-e", "require 'leash'"])
        .env("LUA_CPATH", format!("{}/?.so", modules.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let outcome = process::run(&mut command, PATIENCE)?;
    let message = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(
        outcome.code == 1 && message.contains("built for Lua 5.1"),
        "luajit loads the library for Lua 5.1: {message}"
    );
    Ok(())
}

/// Builds the module that stands in for llthreads2 and mtmsg; returns its folder.
fn test_threads(leash: &Leash) -> Result<PathBuf> {
    let engine = leash.engine;
    let library = modules::library(engine, THREADS)?;
    let folder = cargo::target().join("modules-test").join(engine.name());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in ["llthreads2.so", "mtmsg.so", "testsignals.so"] {
        let (fresh, to) = (folder.join(format!("{name}.new")), folder.join(name));
        fs::copy(&library, &fresh)
            .and_then(|_| fs::rename(&fresh, &to))
            .with_context(|| format!("cannot copy {}", library.display()))?;
    }
    Ok(folder)
}

/// The Lua files of a folder, by name.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "lua") {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "no Lua files in {}", folder.display());
    found.sort();
    Ok(found)
}

fn run(
    interpreter: &Interpreter,
    script: &Path,
    arguments: &[String],
    modules: &Path,
    threads: &Path,
    outcomes: Option<&Path>,
) -> Result<()> {
    let mut command = interpreter.command();
    if let Some(outcomes) = outcomes {
        command.env(limits::OUTCOMES, outcomes);
    }
    let tests = cargo::root().join("tests/lua");
    let show = |folder: &Path, rest: &str| format!("{}/{rest}", folder.display());
    command
        .arg(script)
        .args(arguments)
        .current_dir(cargo::root())
        .env(
            "LUA_PATH",
            format!("{};{};;", show(modules, "?.lua"), show(&tests, "?.lua")),
        )
        .env(
            "LUA_CPATH",
            format!("{};{}", show(modules, "?.so"), show(threads, "?.so")),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let outcome = process::run(&mut command, PATIENCE)?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        outcome.code == 0,
        "{} ended with {}: {}\n{}{}",
        script.display(),
        outcome.code,
        process::show(&command),
        text(&outcome.stdout),
        text(&outcome.stderr)
    );
    let last = text(&outcome.stdout);
    let mut shown = script
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for argument in arguments {
        shown = format!("{shown} {argument}");
    }
    let last = last.lines().last().unwrap_or("ended");
    println!("{}: {shown}: {last} ({seconds:.1} s)", interpreter.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_are_there() {
        let names = scripts(&cargo::root().join("tests/lua")).expect("readable");
        assert!(names.iter().any(|n| n.ends_with("mtint.lua")));
        assert!(names.iter().any(|n| n.ends_with("corowatch.lua")));
        assert!(scripts(&cargo::root().join("no such folder")).is_err());
    }
}
