//! `leash-bench`: what is measured from Rust. Building it for an engine, running it, and reading what it writes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host::{MOST_STARTS, NOT_GUARDED};
use crate::engine::Engine;
use crate::{cargo, process};

const PATIENCE: Duration = Duration::from_secs(300);
/// A program that goes wild takes no more than this, in bytes of address space.
const MOST_MEMORY: u64 = 12 << 30;

/// The program for one engine.
#[derive(Clone, Debug)]
pub struct Native {
    /// The engine.
    pub engine: Engine,
    program: PathBuf,
}

/// A line of its output.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What the numbers are.
    pub name: String,
    /// The numbers.
    pub values: Vec<f64>,
}

impl Native {
    /// Builds it.
    pub fn build(engine: Engine) -> Result<Native> {
        cargo::run(&[
            "build",
            "--release",
            "--package",
            "leash-bench",
            "--no-default-features",
            "--features",
            engine.name(),
        ])?;
        // The next engine overwrites the program.
        let built = cargo::target().join("release/leash-bench");
        let folder = cargo::target().join("test").join(engine.name());
        let (fresh, program) = (folder.join("leash-bench.new"), folder.join("leash-bench"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(&built, &fresh))
            .and_then(|_| fs::rename(&fresh, &program))
            .with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(Native { engine, program })
    }

    /// For all of these.
    pub fn all(engines: &[Engine]) -> Result<Vec<Native>> {
        engines
            .iter()
            .map(|&engine| Native::build(engine))
            .collect()
    }

    /// The command that measures this.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = process::command(&self.program);
        command.args(words);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Result<Vec<Line>> {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        process::limit_memory(&mut command, MOST_MEMORY);
        let mut outcome = process::run(&mut command, PATIENCE)?;
        for _ in 0..MOST_STARTS {
            if outcome.code == NOT_GUARDED {
                outcome = process::run(&mut command, PATIENCE)?;
            }
        }
        ensure!(
            outcome.code == 0,
            "it ended with {}: {}\n{}",
            outcome.code,
            process::show(&command),
            String::from_utf8_lossy(&outcome.stderr)
        );
        lines(&String::from_utf8_lossy(&outcome.stdout))
            .with_context(|| format!("reading what it writes: {}", process::show(&command)))
    }

    /// Runs it, and returns the numbers of this name.
    pub fn values(&self, words: &[&str], name: &str) -> Result<Vec<f64>> {
        let lines = self.run(words)?;
        find(&lines, name)
    }
}

/// The numbers of this name.
pub fn find(lines: &[Line], name: &str) -> Result<Vec<f64>> {
    let found = lines.iter().find(|line| line.name == name);
    let line = found.with_context(|| format!("there is no '{name}' in its answer"))?;
    Ok(line.values.clone())
}

/// How values are distributed, in the order in which `leash-bench` writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// How many there are.
    pub samples: f64,
    /// Half of them are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1000 are below.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

impl Tail {
    /// From a line.
    pub fn of(values: &[f64]) -> Result<Tail> {
        let &[samples, p50, p99, p999, max] = values else {
            anyhow::bail!("these are not five numbers: {values:?}");
        };
        Ok(Tail {
            samples,
            p50,
            p99,
            p999,
            max,
        })
    }
}

fn lines(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines().map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().context("an empty line")?.to_owned();
        let values: Result<Vec<f64>, _> = words.map(str::parse).collect();
        let values = values.with_context(|| format!("not numbers: {line:?}"))?;
        Ok(Line { name, values })
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_a_name_and_numbers() {
        let all = lines("a 1 2.5\nlatency 3 4 5 6 7\n").expect("it can be read");
        assert_eq!(find(&all, "a").expect("it is there"), [1.0, 2.5]);
        let tail = Tail::of(&find(&all, "latency").expect("it is there")).expect("five");
        assert_eq!((tail.samples, tail.p50, tail.max), (3.0, 4.0, 7.0));
        assert!(find(&all, "b").is_err());
        assert!(Tail::of(&[1.0]).is_err());
        assert!(lines("a b\n").is_err());
    }
}
