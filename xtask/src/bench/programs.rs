//! The corpus and the empty script, under three interpreters in turn.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::corpus;
use crate::interpreter::Interpreter;
use crate::manifest::Entry;
use crate::process;
use crate::stats::Spread;

/// Programs that compute for less are too short to measure.
const TRIVIAL: f64 = 0.1;

/// Who is compared.
pub struct Contest {
    /// Debian's interpreter, if it is installed.
    pub stock: Option<Interpreter>,
    /// The same Lua library as in Leash, without Leash.
    pub plain: Interpreter,
    /// `leash run` with a timeout that is not reached.
    pub leash: Interpreter,
}

/// The times of one program under one interpreter, in seconds, in the order of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// User and system time.
    pub cpu: Vec<f64>,
    /// Time on the clock.
    pub wall: Vec<f64>,
}

/// A program of the corpus.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the manifest.
    pub name: String,
    /// Under Debian's interpreter.
    pub stock: Option<Times>,
    /// Under the plain interpreter.
    pub plain: Times,
    /// Under `leash run`.
    pub leash: Times,
}

impl Program {
    /// CPU time under Leash, of what it is under the plain interpreter: by the medians.
    pub fn cost(&self) -> f64 {
        ratio(&self.leash.cpu, &self.plain.cpu)
    }

    /// The same on the clock.
    pub fn cost_wall(&self) -> f64 {
        ratio(&self.leash.wall, &self.plain.wall)
    }

    /// CPU time under Leash, of what it is under Debian's interpreter: by the medians.
    pub fn against_stock(&self) -> Option<f64> {
        let stock = self.stock.as_ref()?;
        Some(ratio(&self.leash.cpu, &stock.cpu))
    }

    /// The ratios to the plain interpreter within each round.
    pub fn rounds(&self) -> Spread {
        let rounds = self.leash.cpu.iter().zip(&self.plain.cpu);
        Spread::of(rounds.map(|(leash, plain)| leash / plain))
    }
}

fn ratio(above: &[f64], below: &[f64]) -> f64 {
    median(above) / median(below)
}

/// The median of some times.
pub fn median(times: &[f64]) -> f64 {
    Spread::of(times.iter().copied()).median
}

/// Measures the corpus.
pub fn measure(contest: &Contest, rounds: u32) -> Result<Vec<Program>> {
    let entries = corpus::entries(&contest.plain)?;
    let mut measured = Vec::new();
    for entry in entries {
        // Also warms the caches of the file system.
        if once(&contest.plain, &entry)?.0 < TRIVIAL {
            println!("{}: too short to measure", entry.name);
            continue;
        }
        measured.push((
            Program {
                name: entry.name.clone(),
                stock: contest.stock.as_ref().map(|_| Times::default()),
                plain: Times::default(),
                leash: Times::default(),
            },
            entry,
        ));
    }
    for round in 0..rounds {
        println!("corpus: round {} of {rounds}", round + 1);
        for (program, entry) in &mut measured {
            let mut turns = vec![
                (&contest.plain, &mut program.plain),
                (&contest.leash, &mut program.leash),
            ];
            if let (Some(stock), Some(times)) = (&contest.stock, &mut program.stock) {
                turns.push((stock, times));
            }
            let first = round as usize % turns.len();
            turns.rotate_left(first);
            for (interpreter, times) in turns {
                let (cpu, wall) = once(interpreter, entry)?;
                times.cpu.push(cpu);
                times.wall.push(wall);
            }
        }
    }
    ensure!(!measured.is_empty(), "no program takes {TRIVIAL} s");
    Ok(measured.into_iter().map(|(program, _)| program).collect())
}

/// CPU time and time on the clock of one run.
fn once(interpreter: &Interpreter, entry: &Entry) -> Result<(f64, f64)> {
    let mut command = corpus::command(interpreter, entry)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let outcome = process::run(&mut command, corpus::PATIENCE)?;
    ensure!(
        outcome.code == entry.code,
        "it ended with {}, and not with {}: {}",
        outcome.code,
        entry.code,
        process::show(&command)
    );
    Ok((outcome.cpu.as_secs_f64(), outcome.wall.as_secs_f64()))
}

/// An interpreter with an empty script.
pub struct Start {
    /// The interpreter.
    pub name: String,
    /// Milliseconds from before the start to the end of the process.
    pub wall: Spread,
    /// Milliseconds of user and system time.
    pub cpu: Spread,
}

/// Measures the start-up time, in turn.
pub fn measure_start(contest: &Contest, folder: &Path, rounds: u32) -> Result<Vec<Start>> {
    println!("start-up time: {rounds} rounds");
    let script = folder.join("empty.lua");
    fs::write(&script, "").with_context(|| format!("cannot write {}", script.display()))?;
    let entry = Entry {
        name: "empty".to_owned(),
        code: 0,
        stdin: None,
        command: vec![script.display().to_string()],
    };
    let all = [
        contest.stock.as_ref(),
        Some(&contest.plain),
        Some(&contest.leash),
    ];
    let mut turns: Vec<(&Interpreter, Times)> = all
        .into_iter()
        .flatten()
        .map(|interpreter| (interpreter, Times::default()))
        .collect();
    for _ in 0..rounds {
        turns.rotate_left(1);
        for (interpreter, times) in &mut turns {
            let (cpu, wall) = once(interpreter, &entry)?;
            times.cpu.push(cpu * 1e3);
            times.wall.push(wall * 1e3);
        }
    }
    turns.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let starts = turns.into_iter().map(|(interpreter, times)| Start {
        name: interpreter.name.clone(),
        wall: Spread::of(times.wall),
        cpu: Spread::of(times.cpu),
    });
    Ok(starts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_and_spreads_of_rounds() {
        let times = |cpu: [f64; 3]| Times {
            cpu: cpu.to_vec(),
            wall: cpu.to_vec(),
        };
        let program = Program {
            name: "x".to_owned(),
            stock: Some(times([2.0, 2.0, 2.0])),
            plain: times([1.0, 2.0, 4.0]),
            leash: times([1.0, 3.0, 3.0]),
        };
        assert_eq!(program.cost(), 1.5);
        assert_eq!(program.against_stock(), Some(1.5));
        let rounds = program.rounds();
        assert_eq!((rounds.min, rounds.median, rounds.max), (0.75, 1.0, 1.5));
    }
}
