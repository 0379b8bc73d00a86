//! What it costs to bound running code: by Leash, by a count hook, and by the hook that `mlua` offers to Rust hosts.
//!
//! All variants run the same code in the same Lua library, in a process each that answers on demand (`crates/bench/src/work.rs`), so that they can
//! be measured in short turns. A count hook that looks at the clock every 10000 instructions is what one writes oneself; with `mlua`
//! it is `set_hook(every_nth_instruction(10000))` and a look at `Instant`.

use anyhow::{Context, Result};

use super::host::{Worker, turns};
use super::native::Native;
use super::report::Section;
use super::rows::{Mark, Row, Rows};
use super::svg::{BLUE, INK, ORANGE};
use crate::stats::Spread;
use crate::table;

const TURNS: usize = 15;

/// The workloads, by their names in `work.rs`, and what they do.
const WORKLOADS: [(&str, &str); 4] = [
    ("loop", "arithmetic"),
    ("tables", "sums over an array"),
    ("calls", "`fib`"),
    ("garbage", "tables and strings that are thrown away"),
];

/// The variants. The first is what `leash` and `hook` are compared with, the fourth what `mlua_hook` is.
const VARIANTS: [&str; 5] = ["plain", "leash", "hook", "mlua", "mlua_hook"];

/// Ratios of all turns.
#[derive(Clone, Debug, Default)]
pub struct Ratios {
    leash: Vec<f64>,
    hook: Vec<f64>,
    mlua_hook: Vec<f64>,
}

/// What was measured on one engine, in the order of the workloads.
pub struct Cost {
    name: &'static str,
    ratios: Vec<Ratios>,
}

/// Measures all.
pub fn measure(natives: &[Native], rounds: u32) -> Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = natives
        .iter()
        .map(|native| Cost {
            name: native.engine.name(),
            ratios: vec![Ratios::default(); WORKLOADS.len()],
        })
        .collect();
    for round in 0..rounds {
        println!("running code: round {} of {rounds}", round + 1);
        for (native, cost) in natives.iter().zip(&mut costs) {
            for ((workload, _), ratios) in WORKLOADS.iter().zip(&mut cost.ratios) {
                one_round(native, workload, ratios)
                    .with_context(|| format!("measuring '{workload}' on {}", native.engine))?;
            }
        }
    }
    Ok(costs)
}

fn one_round(native: &Native, workload: &str, ratios: &mut Ratios) -> Result<()> {
    let start = |variant| Worker::start(&mut native.command(&["work", workload, variant]));
    let mut workers = VARIANTS
        .map(start)
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for times in turns(&mut workers, TURNS)? {
        ratios.leash.push(times[1] / times[0]);
        ratios.hook.push(times[2] / times[0]);
        ratios.mlua_hook.push(times[4] / times[3]);
    }
    Ok(())
}

/// The section.
pub fn section(costs: &[Cost]) -> Section {
    let list: String = WORKLOADS
        .iter()
        .map(|(name, what)| format!("- `{name}`: {what}\n"))
        .collect();
    let text = format!(
        "\
## Running code, bounded in three ways

![Ratios of CPU time for each workload and way](benchmarks/running.svg)

CPU time of code with a time limit that is not reached, as a ratio to the same code without one, in the same Lua library (vendored). Turns of 10 ms,
processes in turn; the median of all turns.

{list}
From Rust, `Vm::call` with a timeout; in brackets the quartiles. The goal is 1.01.

{leash}
Under a count hook in Lua (`debug.sethook`) that reads the clock every 10000 instructions; and, after the stroke, under
`mlua`'s `set_hook` with `every_nth_instruction(10000)`, as a ratio to `mlua` without. On LuaJIT the compiler has to be off for both.

{hooks}",
        leash = cells(costs, |r| {
            let s = spread(&r.leash);
            format!("{:.3} ({:.2}-{:.2})", s.median, s.lower, s.upper)
        }),
        hooks = cells(costs, |r| {
            let (hook, mlua) = (spread(&r.hook), spread(&r.mlua_hook));
            format!("{:.2} / {:.2}", hook.median, mlua.median)
        }),
    );
    Section {
        text,
        charts: vec![("running.svg", chart(costs))],
    }
}

fn spread(ratios: &[f64]) -> Spread {
    Spread::of(ratios.iter().copied())
}

fn cells(costs: &[Cost], cell: impl Fn(&Ratios) -> String) -> String {
    let mut head = vec!["workload"];
    head.extend(costs.iter().map(|cost| cost.name));
    let rows: Vec<Vec<String>> = WORKLOADS
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let cells = costs.iter().map(|cost| cell(&cost.ratios[index]));
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

fn chart(costs: &[Cost]) -> String {
    let rows = WORKLOADS.iter().enumerate().map(|(index, (name, _))| {
        let mut row = Row {
            name: (*name).to_owned(),
            ..Row::default()
        };
        for cost in costs {
            let ratios = &cost.ratios[index];
            for (mark, ratios) in [
                (Mark::Ring(INK), &ratios.mlua_hook),
                (Mark::Ring(ORANGE), &ratios.hook),
                (Mark::Dot(BLUE), &ratios.leash),
            ] {
                let ratio = spread(ratios).median;
                row.marks
                    .push((mark, ratio, format!("{}: {ratio:.3}", cost.name)));
            }
        }
        row
    });
    Rows {
        title: "What it costs to bound running code",
        heading: "CPU time of running code with a time limit, as a ratio to the same without (logarithmic; each mark is an engine)",
        legend: vec![
            (Mark::Dot(BLUE), "Leash"),
            (Mark::Ring(ORANGE), "a count hook in Lua that reads the clock every 10000 instructions"),
            (Mark::Ring(INK), "mlua's set_hook, every 10000 instructions"),
        ],
        ticks: &[0.9, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0],
        logarithmic: true,
        goals: &[],
        rows: rows.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_shows_all_three() {
        let ratios = Ratios {
            leash: vec![1.0625],
            hook: vec![2.5],
            mlua_hook: vec![3.25],
        };
        let cost = Cost {
            name: "lua54",
            ratios: vec![ratios; WORKLOADS.len()],
        };
        let section = section(&[cost]);
        for part in ["1.062 (1.06-1.06)", "2.50 / 3.25", "| garbage"] {
            assert!(section.text.contains(part), "{part}:\n{}", section.text);
        }
        assert!(section.charts[0].1.contains("lua54: 3.250"));
    }
}
