//! What the guarded functions of `string` and `table`, and the guarded `pcall` and `xpcall`, cost, against the originals.
//!
//! Both run in one process, in turn, in the standard interpreters ([`stdlib.lua`](lua/stdlib.lua)), since they differ in nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::host::Host;
use super::report::Section;
use super::rows::{Mark, Row, Rows};
use super::svg::{BLUE, INK, ORANGE};
use crate::engine::Engine;
use crate::stats::{Spread, geometric_mean};
use crate::{process, table};

/// A minute and a half is usual.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What was measured on one engine.
pub struct Guarded {
    name: String,
    /// Workloads and the ratios of their turns.
    workloads: Vec<(String, Spread)>,
}

impl Guarded {
    fn mean(&self) -> f64 {
        geometric_mean(self.workloads.iter().map(|(_, s)| s.median))
    }
}

/// Measures all engines.
pub fn measure(hosts: &[Host], turns: u32) -> Result<Vec<Guarded>> {
    let mut all = Vec::new();
    for host in hosts {
        for interpreted in [false, true] {
            if !interpreted || host.engine == Engine::Luajit {
                all.push(one(host, interpreted, turns)?);
            }
        }
    }
    Ok(all)
}

fn one(host: &Host, interpreted: bool, turns: u32) -> Result<Guarded> {
    let name = match interpreted {
        true => format!("{} -joff", host.engine),
        false => host.engine.name().to_owned(),
    };
    println!("guarded functions: {name}, {turns} turns");
    let mut command = host.command("stdlib.lua");
    command.arg(turns.to_string());
    if interpreted {
        command.arg("interpreted");
    }
    process::on_one_processor(&mut command);
    let outcome = process::run(&mut command, PATIENCE)?;
    ensure!(outcome.code == 0, "it failed: {}", process::show(&command));
    let output = String::from_utf8(outcome.stdout).context("not text")?;
    let workloads = output.lines().map(parse).collect::<Result<Vec<_>>>()?;
    ensure!(!workloads.is_empty(), "{name}: nothing was measured");
    Ok(Guarded { name, workloads })
}

/// `NAME<tab>RATIO RATIO ...`
fn parse(line: &str) -> Result<(String, Spread)> {
    let context = || format!("no workload with its ratios: {line}");
    let (name, ratios) = line.split_once('\t').with_context(context)?;
    let ratios: Vec<f64> = ratios
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(context)?;
    ensure!(!ratios.is_empty(), context());
    Ok((name.to_owned(), Spread::of(ratios)))
}

/// The section.
pub fn section(all: &[Guarded]) -> Section {
    let text = format!(
        "\
## What guarded library functions cost

![Guarded functions of string and table against the originals, for each use and engine](benchmarks/stdlib.svg)

CPU time of the functions that `leash.guard_stdlib` puts in the place of those of `string` and `table`, and of `pcall` and `xpcall` (on LuaJIT these stay), as a ratio to the originals of the
same interpreter (5.5: a plain one around the vendored library), both in one process, in turn; the median of all turns. The goal is 1.1. LuaJIT compiles
three of the originals, `rep`, `find` of plain text and an `insert` that appends, and moves what does not change out of loops; `-joff` is like with like.

{}",
        rows(all)
    );
    Section {
        text,
        charts: vec![("stdlib.svg", chart(all))],
    }
}

fn rows(all: &[Guarded]) -> String {
    let head: Vec<&str> = std::iter::once("use")
        .chain(all.iter().map(|g| g.name.as_str()))
        .collect();
    let names = all.first().map_or(&[][..], |g| &g.workloads[..]);
    let mut rows: Vec<Vec<String>> = names
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let cells = all.iter().map(|g| {
                let found = g.workloads.get(index);
                found.map_or(String::new(), |(_, s)| format!("{:.2}", s.median))
            });
            std::iter::once(name.clone()).chain(cells).collect()
        })
        .collect();
    let means = all.iter().map(|g| format!("**{:.2}**", g.mean()));
    rows.push(
        std::iter::once("**geometric mean**".to_owned())
            .chain(means)
            .collect(),
    );
    table::markdown(&head, &rows)
}

fn chart(all: &[Guarded]) -> String {
    let names = all.first().map_or(&[][..], |g| &g.workloads[..]);
    let rows = names.iter().enumerate().map(|(index, (name, _))| {
        let marks = all.iter().filter_map(|g| {
            let (_, s) = g.workloads.get(index)?;
            let color = match g.name.starts_with("luajit") {
                true => ORANGE,
                false => BLUE,
            };
            let words = format!("{}: {:.2}", g.name, s.median);
            Some((Mark::Dot(color), s.median, words))
        });
        Row {
            name: name.clone(),
            marks: marks.collect(),
            ..Row::default()
        }
    });
    Rows {
        title: "What guarded library functions cost",
        heading: "Time of guarded functions of string and table, as a ratio to the originals (logarithmic; less is faster)",
        legend: vec![
            (Mark::Dot(BLUE), "Lua 5.1 to 5.5"),
            (Mark::Dot(ORANGE), "LuaJIT, with the compiler on and off"),
            (Mark::Dot(INK), "move the mouse over a mark for its engine"),
        ],
        ticks: &[0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 20.0],
        logarithmic: true,
        goals: &[(1.1, "goal: 1.1")],
        rows: rows.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_script_is_understood() {
        let (name, spread) = parse("rep, one\t0.5000 0.7000 0.6000").expect("a workload");
        assert_eq!((&*name, spread.median), ("rep, one", 0.6));
        assert!(parse("rep, one").is_err() && parse("rep\tx").is_err());
    }

    #[test]
    fn the_section_tells_ratios_and_their_mean() {
        let one = |value| Spread::of([value]);
        let guarded = Guarded {
            name: "lua54".to_owned(),
            workloads: vec![("a".to_owned(), one(0.5)), ("b".to_owned(), one(2.0))],
        };
        let section = section(&[guarded]);
        assert!(section.text.contains("| a ") && section.text.contains("0.50 |"));
        assert!(section.text.contains("**1.00** |"));
        assert!(section.charts[0].1.contains("goal: 1.1"));
    }
}
