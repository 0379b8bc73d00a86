//! The examples that do not end by themselves: each must be stopped by the limit it is run under.
//!
//! - `runaway`: `--timeout 200ms`. Stopped by a hook, with a traceback.
//! - `memory`: `--memory 64M`, with a timeout as a second net.
//! - `stuck`: inside one C function or system call, so it is the grace time that ends them.
//!
//! How late a runaway script was stopped is measured and shown, but decides nothing: the machine is busy, with other scripts at least. It is the time of the
//! whole process minus the limit minus that of a process with an empty script, so it contains the way to the end: closing the
//! state, and its garbage.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Leash};
use crate::engine::Engine;
use crate::evasion;
use crate::interpreter::Interpreter;
use crate::parallel;
use crate::process::{self, Outcome};
use crate::stats::{Spread, milliseconds};
use crate::table;

/// The exit code of `leash run` for a limit.
const LIMIT: i32 = 124;
const TIMEOUT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);
/// A mistake of ours must not take all the machine's memory.
const ADDRESS_SPACE: u64 = 4 << 30;

/// How one run of a runaway script was stopped.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// The script's file name.
    pub name: String,
    /// How long after the limit the process was gone, in milliseconds.
    pub late: f64,
    /// The process was ended after the grace time.
    pub by_grace: bool,
}

/// Runs all examples, and prints how late the runaway ones were stopped.
pub fn check(leash: &Leash) -> Result<()> {
    let start = start_up(leash)?;
    let at_a_time = parallel::that_wait();
    let stopped = parallel::each(&runaway()?, at_a_time, |file| stop(leash, file, start))?;
    let by_grace = stopped.iter().filter(|run| run.by_grace);
    let unexpected: Vec<&str> = by_grace.map(|run| run.name.as_str()).collect();
    let (number, unexpected) = (stopped.len(), unexpected.join(", "));
    println!("{number} runaway scripts were stopped. How long after the limit, in ms:\n");
    println!("{}", summary(&[(leash.engine, stopped)]));
    ensure!(
        unexpected.is_empty(),
        "a hook should stop {unexpected} on {}, but the process had to be ended after the grace time",
        leash.engine
    );

    let hungry = scripts("memory")?;
    parallel::each(&hungry, at_a_time, |file| {
        let limits = ["--memory", "64M", "--timeout", "20s"];
        let outcome = run(leash, &limits, file, Stdio::null())?;
        expect(file, &outcome, outcome.code == LIMIT, "exit code 124")?;
        expect(
            file,
            &outcome,
            says(&outcome, "memory"),
            "the word 'memory'",
        )
    })?;
    let stuck = scripts("stuck")?;
    parallel::each(&stuck, at_a_time, |file| {
        let limits = ["--timeout", "200ms", "--grace", "200ms"];
        let outcome = run(leash, &limits, file, Stdio::piped())?;
        expect(file, &outcome, outcome.code == LIMIT, "exit code 124")
    })?;
    println!(
        "{} scripts were stopped by the memory limit, {} that were stuck by a timeout",
        hungry.len(),
        stuck.len()
    );
    evasion::check(leash, at_a_time).map(drop)
}

/// The runaway scripts.
pub fn runaway() -> Result<Vec<PathBuf>> {
    let mut files = vec![cargo::root().join("examples/runaway.lua")];
    files.extend(scripts("runaway")?);
    Ok(files)
}

/// How long an empty script takes at least: process, state and end. What the machine adds at times counts as late.
pub fn start_up(leash: &Leash) -> Result<Duration> {
    let file = leash.folder.join("empty.lua");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    let mut times = Vec::new();
    for _ in 0..9 {
        let outcome = run(leash, &["--timeout", "200ms"], &file, Stdio::null())?;
        expect(&file, &outcome, outcome.code == 0, "exit code 0")?;
        times.push(outcome.wall.as_secs_f64());
    }
    Ok(Duration::from_secs_f64(Spread::of(times).min))
}

/// Runs a runaway script, which must be stopped as its users expect it.
pub fn stop(leash: &Leash, file: &Path, start: Duration) -> Result<Stopped> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let outcome = run(leash, &["--timeout", "200ms"], file, Stdio::null())?;
    expect(file, &outcome, outcome.code == LIMIT, "exit code 124")?;
    expect(
        file,
        &outcome,
        says(&outcome, "timeout"),
        "the word 'timeout'",
    )?;
    let by_grace = says(&outcome, "the process is ended");
    if !by_grace {
        let traceback = says(&outcome, "stack traceback");
        expect(file, &outcome, traceback, "a traceback")?;
    }
    Ok(Stopped {
        name: name.into_owned(),
        late: milliseconds(outcome.wall) - milliseconds(TIMEOUT) - milliseconds(start),
        by_grace,
    })
}

/// The Markdown table of what was measured for each engine.
pub fn summary(engines: &[(Engine, Vec<Stopped>)]) -> String {
    let rows: Vec<Vec<String>> = engines
        .iter()
        .map(|(engine, stopped)| row(*engine, stopped))
        .collect();
    let head = [
        "engine",
        "min",
        "median",
        "max",
        "slowest",
        "ended after the grace time",
    ];
    table::markdown(&head, &rows)
}

fn row(engine: Engine, stopped: &[Stopped]) -> Vec<String> {
    let (ended, in_order): (Vec<&Stopped>, Vec<&Stopped>) =
        stopped.iter().partition(|run| run.by_grace);
    let ended: BTreeSet<&str> = ended.iter().map(|run| run.name.as_str()).collect();
    let slowest = in_order.iter().max_by(|a, b| a.late.total_cmp(&b.late));
    let mut row = vec![engine.to_string()];
    match slowest {
        None => row.extend(["-"; 4].map(str::to_owned)),
        Some(slowest) => {
            let spread = Spread::of(in_order.iter().map(|run| run.late));
            let times = [spread.min, spread.median, spread.max];
            row.extend(times.map(|late| format!("{late:.1}")));
            row.push(slowest.name.clone());
        }
    }
    row.push(match ended.is_empty() {
        true => "none".to_owned(),
        false => Vec::from_iter(ended).join(", "),
    });
    row
}

fn scripts(kind: &str) -> Result<Vec<PathBuf>> {
    let folder = cargo::root().join("examples").join(kind);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "lua"));
    files.sort();
    ensure!(
        !files.is_empty(),
        "there is no script in {}",
        folder.display()
    );
    Ok(files)
}

fn run(leash: &Leash, limits: &[&str], file: &Path, stdin: Stdio) -> Result<Outcome> {
    let mut command = Interpreter::leash(leash, limits).command();
    command.arg(file).current_dir(cargo::root());
    command
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    process::limit_memory(&mut command, ADDRESS_SPACE);
    process::run(&mut command, PATIENCE)
}

fn says(outcome: &Outcome, words: &str) -> bool {
    String::from_utf8_lossy(&outcome.stderr).contains(words)
}

fn expect(file: &Path, outcome: &Outcome, good: bool, expected: &str) -> Result<()> {
    ensure!(
        good,
        "{}: expected {expected}; it ended with {} after {:.3} s and said:\n{}",
        file.display(),
        outcome.code,
        outcome.wall.as_secs_f64(),
        String::from_utf8_lossy(&outcome.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(name: &str, late: f64, by_grace: bool) -> Stopped {
        Stopped {
            name: name.to_owned(),
            late,
            by_grace,
        }
    }

    #[test]
    fn what_needed_the_grace_time_is_named_and_not_counted() {
        let runs = vec![
            stopped("a.lua", 1.0, false),
            stopped("b.lua", 3.0, false),
            stopped("g.lua", 1000.0, true),
            stopped("g.lua", 1001.0, true),
        ];
        let text = summary(&[(Engine::Lua51, runs), (Engine::Lua52, Vec::new())]);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(
            rows[2][1..7],
            ["lua51", "1.0", "2.0", "3.0", "b.lua", "g.lua"]
        );
        assert_eq!(rows[3][1..7], ["lua52", "-", "-", "-", "-", "none"]);
    }

    #[test]
    fn each_kind_has_scripts() {
        for kind in ["runaway", "memory", "stuck"] {
            assert!(!scripts(kind).expect("the folder is there").is_empty());
        }
    }
}
