//! `cargo xtask bench`: what Leash costs while nothing is stopped, and how fast it acts when something has to be.
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
//! The parts, each of which `--only` measures alone, are [`Part`]; each is a module that measures, and says what it has found in a
//! [`Section`] of the report.

mod call;
mod chart;
mod compiled;
mod host;
mod late;
mod latency;
mod machine;
mod native;
mod programs;
mod report;
mod rows;
mod running;
mod scale;
mod stdlib;
mod svg;
mod watched;

use std::fs;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cargo::{self, Leash, Profile};
use crate::engine::Engine;
use crate::interpreter::Interpreter;
use host::Host;
use machine::Machine;
use native::Native;
use programs::Contest;
use report::Section;

/// How much to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// 3 rounds, 2 runs, only lua54 and luajit; written to target/bench, not to docs
    #[arg(long)]
    quick: bool,

    /// One part alone; written to target/bench, not to docs
    #[arg(long, value_name = "PART")]
    only: Option<Part>,

    /// With --only: puts the part into docs, in the place of what is there
    #[arg(long, requires = "only", conflicts_with = "quick")]
    docs: bool,

    /// How often each program of the corpus is measured, and each workload of the watched coroutines
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How often each runaway example is measured on each engine
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// What can be measured alone, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What Leash costs while nothing is stopped: the corpus, under `leash run`
    Cost,
    /// Known programs, above all in LuaJIT's compiled code
    Compiled,
    /// Running code, bounded by Leash, by a count hook, by mlua's hook
    Running,
    /// What a call with limits costs
    Call,
    /// What guarded library functions cost
    Stdlib,
    /// What a watched coroutine costs
    Watched,
    /// From request to hook, and from deadline to the end of the call
    Latency,
    /// Many states, many coroutines
    Scale,
    /// How late runaway scripts are stopped
    Late,
}

/// Everything that has to be built, since a compiler that runs while something is measured would be measured as well.
struct Builds {
    lua54: Leash,
    hosts: Vec<Host>,
    natives: Vec<Native>,
    leashes: Vec<Leash>,
}

impl Builds {
    fn make(engines: &[Engine], wants: impl Fn(Part) -> bool) -> Result<Builds> {
        let any = |parts: &[Part]| match parts.iter().any(|&part| wants(part)) {
            true => engines,
            false => &[],
        };
        let leash = |&engine| cargo::leash(engine, Profile::Release);
        Ok(Builds {
            lua54: leash(&Engine::Lua54)?,
            hosts: Host::all(any(&[
                Part::Compiled,
                Part::Call,
                Part::Stdlib,
                Part::Watched,
                Part::Scale,
            ]))?,
            natives: Native::all(any(&[
                Part::Running,
                Part::Call,
                Part::Latency,
                Part::Scale,
            ]))?,
            leashes: any(&[Part::Late])
                .iter()
                .map(leash)
                .collect::<Result<Vec<_>>>()?,
        })
    }
}

/// Runs the task.
pub fn run(options: &Options) -> Result<()> {
    let (rounds, runs, engines) = match options.quick {
        true => (3, 2, vec![Engine::Lua54, Engine::Luajit]),
        false => (options.rounds, options.runs, Engine::ALL.to_vec()),
    };
    let wants = |part| options.only.is_none_or(|only| only == part);
    let builds = Builds::make(&engines, wants)?;
    let machine = Machine::describe(&builds.lua54)?;
    if machine.is_busy() {
        println!(
            "WARNING: other programs are computing here; the ratios will be off by many percent"
        );
    }
    let parts = Part::value_variants().iter().copied();
    let sections = parts
        .filter(|&part| wants(part))
        .map(|part| Ok((name(part), measure(part, &builds, rounds, runs)?)))
        .collect::<Result<Vec<_>>>()?;
    let order: Vec<String> = Part::value_variants().iter().map(|&p| name(p)).collect();
    let old = match options.docs {
        true => fs::read_to_string(cargo::root().join("docs/benchmarks.md"))?,
        false => String::new(),
    };
    let text = report::markdown(&machine, &order, &sections, &old);
    let apart = options.quick || options.only.is_some() && !options.docs;
    write(&text, &sections, apart)
}

/// As on the command line.
fn name(part: Part) -> String {
    part.to_possible_value()
        .map_or(String::new(), |value| value.get_name().to_owned())
}

fn measure(part: Part, builds: &Builds, rounds: u32, runs: u32) -> Result<Section> {
    let Builds {
        lua54,
        hosts,
        natives,
        leashes,
    } = builds;
    Ok(match part {
        Part::Cost => cost(lua54, rounds)?,
        Part::Compiled => compiled::section(&compiled::measure(hosts, rounds)?),
        Part::Running => running::section(&running::measure(natives, rounds.min(5))?),
        Part::Call => {
            let native = natives.first().context("there is an engine")?;
            let calls = call::measure(hosts, rounds.min(5))?;
            call::section(&calls, &call::alarms(native)?)
        }
        Part::Stdlib => stdlib::section(&stdlib::measure(hosts, rounds * 2)?),
        Part::Watched => {
            let subjects = watched::subjects(hosts);
            watched::section(&watched::measure(&subjects, rounds)?)
        }
        Part::Latency => {
            let amount = latency::Amount {
                interrupts: rounds * 4000,
                calls: rounds * 150,
            };
            latency::section(&latency::measure(natives, amount)?)
        }
        Part::Scale => {
            let states = scale::states(natives)?;
            scale::section(&states, &scale::coroutines(hosts)?)
        }
        Part::Late => {
            let late = leashes.iter().map(|leash| late::measure(leash, runs));
            let late = late.collect::<Result<Vec<_>>>()?;
            Section {
                text: report::lateness(&late),
                charts: vec![("late.svg", chart::late(&late))],
            }
        }
    })
}

/// The corpus under `leash run`, and an empty script.
fn cost(lua54: &Leash, rounds: u32) -> Result<Section> {
    let contest = Contest {
        stock: Interpreter::stock(Engine::Lua54),
        plain: Interpreter::plain(lua54)?,
        leash: Interpreter::leash(lua54, &["--timeout", "60s"]),
    };
    if contest.stock.is_none() {
        println!("lua5.4 is not installed: its column stays empty");
    }
    let programs = programs::measure(&contest, rounds)?;
    let starts = programs::measure_start(&contest, &lua54.folder, rounds * 10)?;
    Ok(Section {
        text: report::cost(rounds, &programs, &starts),
        charts: vec![("cost.svg", chart::cost(&programs))],
    })
}

fn write(text: &str, sections: &[(String, Section)], apart: bool) -> Result<()> {
    let folder = match apart {
        true => cargo::target().join("bench"),
        false => cargo::root().join("docs"),
    };
    let charts = folder.join("benchmarks");
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    println!("\n{text}");
    let mut files = vec![(folder.join("benchmarks.md"), text)];
    let all = sections.iter().flat_map(|(_, section)| &section.charts);
    files.extend(all.map(|(name, chart)| (charts.join(name), chart.as_str())));
    for (file, content) in files {
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    Ok(())
}
