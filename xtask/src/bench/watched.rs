//! What a watched coroutine costs: the module `corowatch`, and a watcher in plain Lua, against coroutines that nobody watches.
//!
//! Three processes of the same standard interpreter run the same Lua code ([`worker.lua`](lua/worker.lua)): without any module, under
//! `corowatch`, and under the count hook of [`hookwatch.lua`](lua/hookwatch.lua). They wait for a number of repetitions, run them, and answer
//! with the CPU time that these took, timer thread included. So turns are as short as 10 ms, and what disturbs the machine for
//! longer disturbs all three; what is compared is the ratio within each turn, and of all turns the median. Each round starts the
//! processes anew, since where the system puts code and stacks makes a difference of its own.
//!
//! Memory is what the Lua state and the whole process have grown by ([`memory.lua`](lua/memory.lua)); the part of a watch that is in Rust
//! shows in the latter, along with what the C library needs to manage it.

mod report;

pub use report::section;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::host::{self, Host, Worker};
use crate::engine::Engine;
use crate::process;
use crate::stats::Spread;

const TURNS: usize = 15;

/// Coroutines that are alive when their memory is measured.
const COROUTINES: u32 = 10_000;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nobody.
    Plain,
    /// `corowatch`.
    Watched,
    /// The count hook in plain Lua.
    Hook,
}

impl Variant {
    const ALL: [Variant; 3] = [Variant::Plain, Variant::Watched, Variant::Hook];

    fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Watched => "watched",
            Variant::Hook => "hook",
        }
    }
}

/// What is run.
pub struct Workload {
    /// Its name in `worker.lua`.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Whether it is about resuming; otherwise about code that runs.
    pub resumes: bool,
}

/// All of them.
pub const WORKLOADS: [Workload; 8] = [
    Workload::running("loop", "arithmetic"),
    Workload::running("tables", "sums over an array"),
    Workload::running("calls", "`fib`"),
    Workload::running("garbage", "tables and strings that are thrown away"),
    Workload::resuming("resume", "`resume` and `yield`"),
    Workload::resuming("wrap", "a wrapped coroutine, called"),
    Workload::resuming("many", "`resume` and `yield`, 100 coroutines in turn"),
    Workload::resuming("values", "`resume` and `yield` with three values each"),
];

impl Workload {
    const fn running(name: &'static str, what: &'static str) -> Workload {
        Workload {
            name,
            what,
            resumes: false,
        }
    }

    const fn resuming(name: &'static str, what: &'static str) -> Workload {
        Workload {
            name,
            what,
            resumes: true,
        }
    }
}

/// One engine.
pub struct Subject {
    host: Host,
    /// LuaJIT with its compiler off: there code under a watch can be stopped wherever it is.
    pub interpreted: bool,
}

impl Subject {
    /// How reports call it.
    pub fn name(&self) -> String {
        match self.interpreted {
            true => format!("{} -joff", self.host.engine),
            false => self.host.engine.name().to_owned(),
        }
    }

    fn command(&self, script: &str, variant: Variant) -> Command {
        let mut command = self.host.command(script);
        if script == MEMORY {
            command.arg(variant.name()).arg(COROUTINES.to_string());
        }
        command
    }
}

const WORKER: &str = "worker.lua";
const MEMORY: &str = "memory.lua";

/// The engines that can be measured: in the standard interpreter, or in a plain one around the Lua of `leash`.
pub fn subjects(hosts: &[Host]) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for host in hosts {
        for interpreted in [false, true] {
            if !interpreted || host.engine == Engine::Luajit {
                subjects.push(Subject {
                    host: host.clone(),
                    interpreted,
                });
            }
        }
    }
    subjects
}

/// The ratios of one workload on one engine, of each turn.
#[derive(Clone, Debug, Default)]
pub struct Ratios {
    watched: Vec<f64>,
    hook: Vec<f64>,
}

impl Ratios {
    /// Under `corowatch`, to nobody.
    pub fn watched(&self) -> Option<Spread> {
        (!self.watched.is_empty()).then(|| Spread::of(self.watched.iter().copied()))
    }

    /// Under the count hook, to nobody.
    pub fn hook(&self) -> Option<Spread> {
        (!self.hook.is_empty()).then(|| Spread::of(self.hook.iter().copied()))
    }
}

/// Bytes for each coroutine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// By the Lua state's own count.
    pub state: f64,
    /// Of the process.
    pub process: f64,
}

/// What was measured on one engine.
pub struct Cost {
    /// How reports call it.
    pub name: String,
    /// In the order of [`WORKLOADS`]; nothing where a workload is not for this engine.
    pub ratios: Vec<Ratios>,
    /// For each coroutine: plain, watched, under the hook. Not measured again where the compiler is off.
    pub memory: Option<[Memory; 3]>,
}

/// Measures all.
pub fn measure(subjects: &[Subject], rounds: u32) -> Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = subjects
        .iter()
        .map(|subject| Cost {
            name: subject.name(),
            ratios: vec![Ratios::default(); WORKLOADS.len()],
            memory: None,
        })
        .collect();
    for round in 0..rounds {
        println!("watched coroutines: round {} of {rounds}", round + 1);
        for (subject, cost) in subjects.iter().zip(&mut costs) {
            for (workload, ratios) in WORKLOADS.iter().zip(&mut cost.ratios) {
                // Resuming is not compiled anyway.
                if !(subject.interpreted && workload.resumes) {
                    one_round(subject, workload, ratios).with_context(|| {
                        format!("measuring '{}' on {}", workload.name, subject.name())
                    })?;
                }
            }
        }
    }
    for (subject, cost) in subjects.iter().zip(&mut costs) {
        if !subject.interpreted {
            cost.memory = Some(memory(subject)?);
        }
    }
    Ok(costs)
}

fn one_round(subject: &Subject, workload: &Workload, ratios: &mut Ratios) -> Result<()> {
    let mut workers = Variant::ALL
        .iter()
        .map(|&variant| start(subject, workload, variant))
        .collect::<Result<Vec<_>>>()?;
    for times in host::turns(&mut workers, TURNS)? {
        ratios.watched.push(times[1] / times[0]);
        ratios.hook.push(times[2] / times[0]);
    }
    Ok(())
}

/// The process that runs a workload.
fn start(subject: &Subject, workload: &Workload, variant: Variant) -> Result<Worker> {
    let mut command = subject.command(WORKER, variant);
    command.arg(workload.name).arg(variant.name());
    if subject.interpreted {
        command.arg("interpreted");
    }
    Worker::start(&mut command)
}

fn memory(subject: &Subject) -> Result<[Memory; 3]> {
    let mut found = [Memory::default(); 3];
    for (memory, variant) in found.iter_mut().zip(Variant::ALL) {
        *memory = grown(subject, variant)
            .with_context(|| format!("measuring memory on {}", subject.name()))?;
    }
    Ok(found)
}

fn grown(subject: &Subject, variant: Variant) -> Result<Memory> {
    let mut command = subject.command(MEMORY, variant);
    let outcome = process::run(&mut command, crate::corpus::PATIENCE)?;
    ensure!(outcome.code == 0, "it failed: {}", process::show(&command));
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(state)), Some(Ok(process))) => Ok(Memory { state, process }),
        _ => anyhow::bail!("it answers {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_know_the_workloads() {
        for name in [WORKER, MEMORY, "hookwatch.lua", "guarded.lua"] {
            assert!(host::scripts().join(name).is_file(), "{name}");
        }
        let read = |name| std::fs::read_to_string(host::scripts().join(name)).expect("readable");
        let (worker, running) = (read(WORKER), read("running.lua"));
        for workload in &WORKLOADS {
            let (script, known) = if workload.resumes {
                (&worker, format!("workload == \"{}\"", workload.name))
            } else {
                (&running, format!("  {} = function", workload.name))
            };
            assert!(script.contains(&known), "{known}");
        }
        for variant in [Variant::Plain, Variant::Watched, Variant::Hook] {
            let known = format!("\"{}\"", variant.name());
            assert!(worker.contains(&known), "{known}");
        }
    }

    #[test]
    fn ratios_have_a_spread_once_they_are_measured() {
        let mut ratios = Ratios::default();
        assert_eq!(ratios.watched(), None);
        ratios.watched = vec![1.0, 1.5, 1.1];
        assert_eq!(ratios.watched().map(|s| s.median), Some(1.1));
        assert_eq!(ratios.hook(), None);
    }
}
