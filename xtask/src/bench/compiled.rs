//! Known programs, above all in LuaJIT's compiled code: without Leash, and inside `leash.call`.
//!
//! Each run is a process of its own that runs a program as it is ([`program.lua`](lua/program.lua)) and tells the CPU time of its work. Which
//! loops LuaJIT compiles, and in which pieces, depends on where the program's bytecode lies in memory (the counters of hot loops
//! are found by a hash of the address), and the pieces decide how fast it is. So anything that allocates before the program does, such as
//! loading a module, throws the dice anew, but the same way each time: two programs would be compared by one throw each. Against that each
//! run first allocates a string of another length. And the program without Leash is measured twice, as two variants: how far these
//! two are apart is what chance does here, and nothing below that means anything.
//!
//! The machine has neighbours, and they make it slower by half for seconds or minutes. So a run is compared with that run without Leash that was made
//! in the same round, a second before or after, and of these ratios the median is told.
//!
//! What could go wrong: a program that computes something else under Leash would be measured all the same. So what it writes
//! is compared with what it writes without, byte by byte; and most check themselves as well.

mod report;

pub use report::section;

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::host::{Host, MOST_STARTS, NOT_GUARDED};
use crate::engine::Engine;
use crate::stats::{Spread, geometric_mean};
use crate::{cargo, corpus, process};

/// Compiled code varies more from process to process than interpreted code: so many times the rounds.
const MORE_OF_COMPILED: u32 = 4;
/// With the compiler off a program takes up to a hundred times as long, and the ratio need not be known so well.
const MOST_INTERPRETED: usize = 2;

/// A program.
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Whether it is in the corpus; otherwise it is in `compiled/programs`.
    corpus: bool,
    /// Its arguments on LuaJIT.
    compiled: &'static [&'static str],
    /// On other engines; none: it needs LuaJIT's `ffi`.
    interpreted: Option<&'static [&'static str]>,
}

/// All of them. The arguments are such that each takes a fifth of a second.
pub const PROGRAMS: [Known; 14] = [
    of_corpus("nbody", &["1000000"], &["75000"]),
    of_corpus("spectral_norm", &["2000"], &["250"]),
    of_corpus("fannkuch", &["9"], &["8"]),
    of_corpus("mandelbrot", &["1600"], &["200"]),
    of_corpus("binary_trees", &["14"], &["12"]),
    of_corpus("queens", &[], &["8"]),
    ours("sieve", &["1000000", "20"], Some(&["200000", "12"])),
    ours("richards", &["60"], Some(&["6"])),
    ours("deltablue", &["300"], Some(&["40"])),
    ours("ray", &["500"], Some(&["100"])),
    ours("strings", &["150"], Some(&["30"])),
    ours("life", &["4000"], Some(&["80"])),
    ours("graph", &["60"], Some(&["12"])),
    ours("ffi_arrays", &["15000"], None),
];

const fn of_corpus(
    name: &'static str,
    compiled: &'static [&'static str],
    interpreted: &'static [&'static str],
) -> Known {
    Known {
        name,
        corpus: true,
        compiled,
        interpreted: Some(interpreted),
    }
}

const fn ours(
    name: &'static str,
    compiled: &'static [&'static str],
    interpreted: Option<&'static [&'static str]>,
) -> Known {
    Known {
        name,
        corpus: false,
        compiled,
        interpreted,
    }
}

impl Known {
    fn script(&self) -> PathBuf {
        let folder = match self.corpus {
            true => corpus::folder(),
            false => cargo::root().join("xtask/src/bench/compiled/programs"),
        };
        folder.join(self.name).with_extension("lua")
    }

    fn arguments(&self, engine: Engine) -> Option<&'static [&'static str]> {
        match engine {
            Engine::Luajit => Some(self.compiled),
            _ => self.interpreted,
        }
    }
}

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without Leash.
    Plain,
    /// The same again: the control.
    Again,
    /// Inside `leash.call`.
    Call,
    /// LuaJIT: with the module loaded, which is when its guards are switched on, and outside `leash.call`.
    Attached,
    /// LuaJIT: without Leash, with the compiler off.
    Interpreted,
}

impl Variant {
    const ALL: [Variant; 5] = [
        Variant::Plain,
        Variant::Again,
        Variant::Call,
        Variant::Attached,
        Variant::Interpreted,
    ];

    /// Its name in `program.lua`.
    fn name(self) -> &'static str {
        match self {
            Variant::Plain | Variant::Again => "plain",
            Variant::Call => "call",
            Variant::Attached => "attached",
            Variant::Interpreted => "interpreted",
        }
    }

    fn is_for(self, engine: Engine) -> bool {
        match self {
            Variant::Attached | Variant::Interpreted => engine == Engine::Luajit,
            _ => true,
        }
    }
}

/// What was measured of one program on one engine: seconds, for each variant.
#[derive(Clone, Debug)]
pub struct Times {
    /// The program.
    pub name: &'static str,
    seconds: [Vec<f64>; Variant::ALL.len()],
}

impl Times {
    /// Ratios to the plain runs of the same rounds; none if it was not measured.
    pub fn ratio(&self, variant: Variant) -> Option<Spread> {
        let (times, plain) = (self.of(variant), self.of(Variant::Plain));
        let pairs = times.iter().zip(plain);
        (!times.is_empty()).then(|| Spread::of(pairs.map(|(time, plain)| time / plain)))
    }

    /// The times without Leash.
    pub fn plain(&self) -> Spread {
        Spread::of(self.of(Variant::Plain).iter().copied())
    }

    fn of(&self, variant: Variant) -> &Vec<f64> {
        &self.seconds[variant as usize]
    }
}

/// One engine.
pub struct Measured {
    /// The engine.
    pub engine: Engine,
    /// In the order of [`PROGRAMS`], those that run there.
    pub programs: Vec<Times>,
}

impl Measured {
    /// The geometric mean of the ratios of all programs.
    pub fn mean(&self, variant: Variant) -> Option<f64> {
        let ratios: Option<Vec<f64>> = self
            .programs
            .iter()
            .map(|times| Some(times.ratio(variant)?.median))
            .collect();
        ratios.map(geometric_mean)
    }
}

/// Measures all. `rounds` is for interpreted code.
pub fn measure(hosts: &[Host], rounds: u32) -> Result<Vec<Measured>> {
    hosts.iter().map(|host| engine(host, rounds)).collect()
}

fn engine(host: &Host, rounds: u32) -> Result<Measured> {
    let rounds = match host.engine {
        Engine::Luajit => rounds * MORE_OF_COMPILED,
        _ => rounds,
    };
    let mut programs = Vec::new();
    for known in &PROGRAMS {
        let Some(arguments) = known.arguments(host.engine) else {
            continue;
        };
        println!(
            "{}: {}, {rounds} rounds of each variant",
            host.engine, known.name
        );
        let mut times = Times {
            name: known.name,
            seconds: Default::default(),
        };
        let mut output = None;
        for round in 0..rounds as usize {
            let mut variants = Variant::ALL;
            variants.rotate_left(round % Variant::ALL.len());
            for variant in variants.into_iter().filter(|v| v.is_for(host.engine)) {
                let so_far = &mut times.seconds[variant as usize];
                if variant == Variant::Interpreted && so_far.len() >= MOST_INTERPRETED {
                    continue;
                }
                // No two runs of a program allocate the same.
                let seed = round * Variant::ALL.len() + variant as usize;
                let run = || once(host, known, arguments, variant, seed);
                let (written, seconds) = run().with_context(|| {
                    format!("running '{}', {variant:?}, on {}", known.name, host.engine)
                })?;
                so_far.push(seconds);
                let expected = output.get_or_insert_with(|| written.clone());
                ensure!(
                    *expected == written,
                    "'{}' writes something else when it runs {variant:?} on {}",
                    known.name,
                    host.engine
                );
            }
        }
        programs.push(times);
    }
    Ok(Measured {
        engine: host.engine,
        programs,
    })
}

/// What one run writes, and the seconds of CPU time that its work takes.
fn once(
    host: &Host,
    known: &Known,
    arguments: &[&str],
    variant: Variant,
    seed: usize,
) -> Result<(Vec<u8>, f64)> {
    let mut command = host.command("program.lua");
    command
        .arg(variant.name())
        .arg(seed.to_string())
        .arg(known.script())
        .args(arguments)
        .stderr(Stdio::piped());
    let mut outcome = process::run(&mut command, corpus::PATIENCE)?;
    for _ in 0..MOST_STARTS {
        if outcome.code == NOT_GUARDED {
            outcome = process::run(&mut command, corpus::PATIENCE)?;
        }
    }
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(
        outcome.code == 0,
        "it ended with {}: {}\n{said}",
        outcome.code,
        process::show(&command)
    );
    let seconds = said.trim().parse();
    let seconds = seconds.with_context(|| format!("it says {said:?}, which is no time"))?;
    Ok((outcome.stdout, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_and_variants_are_there() {
        for known in &PROGRAMS {
            assert!(known.script().is_file(), "{}", known.script().display());
        }
        let runner = std::fs::read_to_string(super::super::host::scripts().join("program.lua"));
        let runner = runner.expect("readable");
        for variant in Variant::ALL {
            assert!(runner.contains(&format!("\"{}\"", variant.name())));
        }
    }

    #[test]
    fn ratios_are_to_the_plain_run_of_the_same_round() {
        let mut times = Times {
            name: "x",
            seconds: Default::default(),
        };
        times.seconds[Variant::Plain as usize] = vec![1.0, 2.0, 4.0];
        times.seconds[Variant::Call as usize] = vec![3.0, 2.0, 5.0];
        times.seconds[Variant::Interpreted as usize] = vec![2.0, 8.0];
        let median = |variant| times.ratio(variant).map(|s| s.median);
        assert_eq!(median(Variant::Call), Some(1.25));
        assert_eq!(median(Variant::Interpreted), Some(3.0));
        assert_eq!(median(Variant::Attached), None);
        let measured = Measured {
            engine: Engine::Luajit,
            programs: vec![times.clone(), times],
        };
        assert_eq!(measured.mean(Variant::Attached), None);
        let mean = measured.mean(Variant::Call).expect("both have it");
        assert!((mean - 1.25).abs() < 1e-12);
    }
}
