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

mod chart;
mod late;
mod machine;
mod programs;
mod report;
mod svg;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo::{self, Profile};
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use late::Late;
use machine::Machine;
use programs::{Contest, Program, Start};

/// How much to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// 3 rounds, 2 runs, only lua54 and luajit; written to target/bench, not to docs
    #[arg(long)]
    quick: bool,

    /// How often each program of the corpus is measured
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How often each runaway example is measured on each engine
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// All that was measured.
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
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let (rounds, runs, engines) = match options.quick {
        true => (3, 2, vec![Engine::Lua54, Engine::Luajit]),
        false => (options.rounds, options.runs, Engine::ALL.to_vec()),
    };
    // Build everything first: a compiler that runs meanwhile would be measured as well.
    let builds = engines
        .iter()
        .map(|&engine| cargo::leash(engine, Profile::Release))
        .collect::<Result<Vec<_>>>()?;
    let lua54 = builds
        .iter()
        .find(|leash| leash.engine == Engine::Lua54)
        .context("lua54 is always measured")?;
    let contest = Contest {
        stock: Interpreter::stock(Engine::Lua54),
        plain: Interpreter::plain(lua54)?,
        leash: Interpreter::leash(lua54, &["--timeout", "60s"]),
    };
    if contest.stock.is_none() {
        println!("lua5.4 is not installed: its column stays empty");
    }
    let machine = Machine::describe(lua54)?;
    if machine.is_busy() {
        println!(
            "WARNING: other programs are computing here; the ratios will be off by many percent"
        );
    }
    let programs = programs::measure(&contest, rounds)?;
    let starts = programs::measure_start(&contest, &lua54.folder, rounds * 10)?;
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
    };
    write(&measured, options.quick)
}

fn write(measured: &Measured, quick: bool) -> Result<()> {
    let folder = match quick {
        true => cargo::target().join("bench"),
        false => cargo::root().join("docs"),
    };
    let charts = folder.join("benchmarks");
    let text = report::markdown(measured);
    let files: [(PathBuf, String); 3] = [
        (folder.join("benchmarks.md"), text.clone()),
        (charts.join("cost.svg"), chart::cost(&measured.programs)),
        (charts.join("late.svg"), chart::late(&measured.late)),
    ];
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    println!("\n{text}");
    for (file, content) in files {
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
