//! The hostile scripts of `tests/lua/evasion`, under `leash run`.
//!
//! `tests/lua/evasion.lua` runs them by `leash.call`, in the standard interpreters. Here each is a process of the command, which must end it by a hook, and not
//! by its last resort, the end of the process after the grace time. Those that use the Lua modules are left out: they would bring a second
//! engine with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Leash};
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use crate::{parallel, process};

/// The exit code of `leash run` for a limit.
const LIMIT: i32 = 124;
const TIMEOUT: &str = "50ms";
const TIMEOUT_MS: f64 = 50.0;
const PATIENCE: Duration = Duration::from_secs(60);
const ADDRESS_SPACE: u64 = 4 << 30;

/// Runs all scripts that this engine can run, so many at a time. Returns what became of them, as [`limits`](crate::limits) reads it.
pub fn check(leash: &Leash, at_a_time: usize) -> Result<String> {
    let outcomes = parallel::each(&scripts()?, at_a_time, |file| {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Ok(if is_for(&text, leash.engine) {
            let late = stop(leash, file)?;
            Some(format!("run\t{name}\t{late:.1}\n"))
        } else {
            None
        })
    })?;
    let stopped = outcomes.iter().flatten().count();
    let left_out = outcomes.len() - stopped;
    println!("{stopped} hostile scripts were stopped; {left_out} were left out");
    ensure!(stopped > 0, "no hostile script was run");
    Ok(outcomes.into_iter().flatten().collect())
}

/// Returns how many milliseconds after its limit it was stopped.
fn stop(leash: &Leash, file: &Path) -> Result<f64> {
    let mut command = Interpreter::leash(leash, &["--timeout", TIMEOUT]).command();
    command
        .arg("tests/lua/support/evasion.lua")
        .arg(file)
        .current_dir(cargo::root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    process::limit_memory(&mut command, ADDRESS_SPACE);
    let outcome = process::run(&mut command, PATIENCE)?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    ensure!(
        outcome.code == LIMIT && said.contains("timeout") && !said.contains("the process is ended"),
        "a hook should stop it: {}\nit ended with {} after {:.3} s and said:\n{said}",
        process::show(&command),
        outcome.code,
        outcome.wall.as_secs_f64(),
    );
    late(&said).with_context(|| format!("it does not say when it was stopped: {said}"))
}

/// `... reached after 0.051s ...`
fn late(said: &str) -> Option<f64> {
    let (_, rest) = said.split_once(" reached after ")?;
    let (seconds, _) = rest.split_once('s')?;
    Some(seconds.parse::<f64>().ok()? * 1e3 - TIMEOUT_MS)
}

/// The scripts, by name.
pub fn scripts() -> Result<Vec<PathBuf>> {
    let folder = cargo::root().join("tests/lua/evasion");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

/// Whether a script can run on this engine by itself.
fn is_for(text: &str, engine: Engine) -> bool {
    let only = text.lines().find_map(|line| line.strip_prefix("-- Only: "));
    let here = only.is_none_or(|only| only.split(' ').any(|name| name == engine.name()));
    let modules = ["leash", "mtint", "corowatch"];
    here && !modules
        .iter()
        .any(|name| text.contains(&format!("require \"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_late() {
        let said = "leash: x.lua stopped: timeout of 50ms reached after 0.051s\n";
        assert!((late(said).expect("it is said") - 1.0).abs() < 1e-9);
        assert_eq!(late("leash: x"), None);
    }

    #[test]
    fn who_runs_what() {
        assert!(is_for("-- x\n\nloop()", Engine::Lua51));
        assert!(is_for("-- x\n-- Only: lua54 lua55\n", Engine::Lua55));
        assert!(!is_for("-- x\n-- Only: lua54 lua55\n", Engine::Lua51));
        assert!(!is_for("local leash = require \"leash\"\n", Engine::Lua54));
    }

    #[test]
    fn there_are_scripts() {
        assert!(scripts().expect("readable").len() >= 80);
    }
}
