//! `cargo xtask bench`: what Leash costs while nothing is stopped, and how late it stops what must be.
//!
//! The programs that are compared run in turn, round after round, in a changing order: what disturbs the machine for a while
//! disturbs all of them. What is compared is the CPU time of the process, which others on the machine change less than the clock, and of
//! all rounds the median.
//!
//! What could go wrong: noise taken for a cost, or a cost for noise. So the quartiles are shown beside each ratio, the mean over all
//! programs is what to look at, and the plain interpreter has the very same Lua library in it as `leash` (see
//! [`crate::interpreter`]). One trap remains: a different program lays out code and data differently, which alone changes the speed of
//! single Lua programs by a few percent either way.
//!
//! Three parts, each of which `--only` measures alone: the corpus, the runaway examples, and [`watched`] coroutines.

mod chart;
mod late;
mod machine;
mod programs;
mod report;
mod svg;
mod watched;

use std::fs;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cargo::{self, Profile};
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use late::Late;
use machine::Machine;
use programs::{Contest, Program, Start};
use watched::Cost;

/// How much to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// 3 rounds, 2 runs, only lua54 and luajit; written to target/bench, not to docs
    #[arg(long)]
    quick: bool,

    /// One part alone; written to target/bench, not to docs
    #[arg(long, value_name = "PART")]
    only: Option<Part>,

    /// How often each program of the corpus is measured, and each workload of the watched coroutines
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How often each runaway example is measured on each engine
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What Leash costs while nothing is stopped
    Cost,
    /// How late it stops what must be
    Late,
    /// What a watched coroutine costs
    Watched,
}

/// All that was measured; what was not, is empty.
pub struct Measured {
    /// Where.
    pub machine: Machine,
    /// How often each program was measured.
    pub rounds: u32,
    /// The corpus.
    pub programs: Vec<Program>,
    /// An empty script.
    pub starts: Vec<Start>,
    /// The runaway examples on each engine.
    pub late: Vec<Late>,
    /// Watched coroutines on each engine.
    pub watched: Vec<Cost>,
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let (rounds, runs, engines) = match options.quick {
        true => (3, 2, vec![Engine::Lua54, Engine::Luajit]),
        false => (options.rounds, options.runs, Engine::ALL.to_vec()),
    };
    let wanted = |part| options.only.is_none_or(|only| only == part);
    // Build everything first: a compiler that runs meanwhile would be measured as well.
    let lua54 = cargo::leash(Engine::Lua54, Profile::Release)?;
    let subjects = match wanted(Part::Watched) {
        true => watched::subjects(&engines)?,
        false => Vec::new(),
    };
    let builds = match wanted(Part::Late) {
        true => engines
            .iter()
            .map(|&engine| cargo::leash(engine, Profile::Release))
            .collect::<Result<Vec<_>>>()?,
        false => Vec::new(),
    };
    let machine = Machine::describe(&lua54)?;
    if machine.is_busy() {
        println!(
            "WARNING: other programs are computing here; the ratios will be off by many percent"
        );
    }
    let (mut programs, mut starts) = (Vec::new(), Vec::new());
    if wanted(Part::Cost) {
        let contest = Contest {
            stock: Interpreter::stock(Engine::Lua54),
            plain: Interpreter::plain(&lua54)?,
            leash: Interpreter::leash(&lua54, &["--timeout", "60s"]),
        };
        if contest.stock.is_none() {
            println!("lua5.4 is not installed: its column stays empty");
        }
        programs = programs::measure(&contest, rounds)?;
        starts = programs::measure_start(&contest, &lua54.folder, rounds * 10)?;
    }
    let watched = watched::measure(&subjects, rounds)?;
    let late = builds
        .iter()
        .map(|leash| late::measure(leash, runs))
        .collect::<Result<Vec<_>>>()?;
    let measured = Measured {
        machine,
        rounds,
        programs,
        starts,
        late,
        watched,
    };
    write(&measured, options.quick || options.only.is_some())
}

fn write(measured: &Measured, apart: bool) -> Result<()> {
    let folder = match apart {
        true => cargo::target().join("bench"),
        false => cargo::root().join("docs"),
    };
    let charts = folder.join("benchmarks");
    let text = report::markdown(measured);
    let mut files = vec![(folder.join("benchmarks.md"), text.clone())];
    if !measured.programs.is_empty() {
        files.push((charts.join("cost.svg"), chart::cost(&measured.programs)));
    }
    if !measured.watched.is_empty() {
        files.push((
            charts.join("watched.svg"),
            watched::chart(&measured.watched),
        ));
    }
    if !measured.late.is_empty() {
        files.push((charts.join("late.svg"), chart::late(&measured.late)));
    }
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    println!("\n{text}");
    for (file, content) in files {
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
