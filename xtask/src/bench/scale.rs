//! Many of everything: states with a deadline each, watched coroutines, attached states.
//!
//! States from Rust (`crates/bench/src/deadlines.rs`, `many.rs`), coroutines in the standard interpreters ([`coroutines.lua`](lua/coroutines.lua)). Each
//! number of a table is a process of its own.

mod report;

pub use report::section;

use anyhow::{Context, Result, ensure};

use super::host::{Host, Worker, turns};
use super::native::{Native, Tail, find};
use crate::stats::Spread;
use crate::{corpus, process};

/// States with a deadline each. With their standard libraries they take up to a gigabyte.
const STATES: u32 = 10_000;
/// How long none of the deadlines is due.
const SECONDS: &str = "3";
/// Numbers of attached states.
const ATTACHED: [u32; 4] = [1, 10, 100, 1000];
/// Numbers of coroutines.
const COROUTINES: [u32; 6] = [1, 10, 100, 1000, 10_000, 100_000];
const TURNS: usize = 9;

/// Many states on one engine.
pub struct States {
    name: &'static str,
    /// Bytes for each state.
    plain: f64,
    /// The same, attached.
    attached: f64,
    /// Seconds in which nothing was due, and the timer thread's milliseconds of CPU time in it.
    idle: (f64, f64),
    /// Its milliseconds in all, from before the first call to the end of the last.
    total: f64,
    /// Milliseconds from the deadlines to the end of the last call.
    stopped: f64,
    /// For each number of states: microseconds to attach one more, and to reach one.
    growing: Vec<(Tail, Tail)>,
}

/// Many watched coroutines on one engine.
pub struct Coroutines {
    name: &'static str,
    /// For each number: seconds for a resume, plain and watched, of each turn.
    resumes: Vec<Vec<(f64, f64)>>,
    /// For each number from 1000 on: bytes of the process that a watch adds.
    memory: Vec<f64>,
}

impl Coroutines {
    fn ratio(&self, index: usize) -> Spread {
        Spread::of(
            self.resumes[index]
                .iter()
                .map(|(plain, watched)| watched / plain),
        )
    }

    fn nanos(&self, index: usize) -> (f64, f64) {
        let median = |values: Vec<f64>| Spread::of(values).median * 1e9;
        let times = &self.resumes[index];
        (
            median(times.iter().map(|t| t.0).collect()),
            median(times.iter().map(|t| t.1).collect()),
        )
    }
}

/// Measures states.
pub fn states(natives: &[Native]) -> Result<Vec<States>> {
    natives.iter().map(states_of).collect()
}

fn states_of(native: &Native) -> Result<States> {
    println!("{}: {STATES} states", native.engine);
    let number = STATES.to_string();
    let bytes = |variant| -> Result<f64> {
        let values = native.values(&["memory", variant, &number], "memory")?;
        values.first().copied().context("it is one number")
    };
    let (plain, attached) = (bytes("plain")?, bytes("attached")?);
    let lines = native.run(&["deadlines", &number, SECONDS])?;
    let one = |name| -> Result<f64> {
        let values = find(&lines, name)?;
        values.first().copied().context("it is one number")
    };
    let mut growing = Vec::new();
    for states in ATTACHED {
        let lines = native.run(&["attach", &states.to_string()])?;
        growing.push((
            Tail::of(&find(&lines, "attach")?)?,
            Tail::of(&find(&lines, "latency")?)?,
        ));
    }
    Ok(States {
        name: native.engine.name(),
        plain,
        attached,
        idle: (one("idle_seconds")?, one("timer_idle_ms")?),
        total: one("timer_total_ms")?,
        stopped: one("all_stopped_ms")?,
        growing,
    })
}

/// Measures coroutines.
pub fn coroutines(hosts: &[Host]) -> Result<Vec<Coroutines>> {
    hosts.iter().map(coroutines_of).collect()
}

fn coroutines_of(host: &Host) -> Result<Coroutines> {
    println!("{}: up to 100000 watched coroutines", host.engine);
    let mut measured = Coroutines {
        name: host.engine.name(),
        resumes: Vec::new(),
        memory: Vec::new(),
    };
    for number in COROUTINES {
        let number = number.to_string();
        let start = |variant| {
            let mut command = host.command("coroutines.lua");
            command.args([number.as_str(), variant]);
            Worker::start(&mut command)
        };
        let mut workers = [start("plain")?, start("watched")?];
        let times = turns(&mut workers, TURNS)
            .with_context(|| format!("{number} coroutines on {}", host.engine))?;
        measured.resumes.push(
            times
                .iter()
                .map(|t| (t[0] / RESUMES, t[1] / RESUMES))
                .collect(),
        );
        if number.len() >= 4 {
            let (plain, watched) = (
                grown(host, "plain", &number)?,
                grown(host, "watched", &number)?,
            );
            measured.memory.push(watched - plain);
        }
    }
    Ok(measured)
}

/// Resumes in one repetition of `coroutines.lua`.
const RESUMES: f64 = 100.0;

/// Bytes of the process for each coroutine.
fn grown(host: &Host, variant: &str, number: &str) -> Result<f64> {
    let mut command = host.command("memory.lua");
    command.args([variant, number]);
    let outcome = process::run(&mut command, corpus::PATIENCE)?;
    ensure!(outcome.code == 0, "it failed: {}", process::show(&command));
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let bytes = text.split_whitespace().nth(1).map(str::parse);
    bytes
        .and_then(Result::ok)
        .with_context(|| format!("it answers {text:?}"))
}
