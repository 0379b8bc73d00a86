//! The section of the report about watched coroutines: tables and a chart.

use super::{Cost, Memory, Ratios, WORKLOADS};
use crate::bench::report::Section;
use crate::bench::rows::{Mark, Row, Rows};
use crate::bench::svg::{BLUE, ORANGE, TEAL};
use crate::stats::Spread;
use crate::table;

/// The section.
pub fn section(costs: &[Cost]) -> Section {
    Section {
        text: text(costs),
        charts: vec![("watched.svg", chart(costs))],
    }
}

fn text(costs: &[Cost]) -> String {
    let list: String = WORKLOADS
        .iter()
        .map(|w| format!("- `{}`: {}\n", w.name, w.what))
        .collect();
    format!(
        "\
## What a watched coroutine costs

![Ratios of CPU time for each workload and engine](benchmarks/watched.svg)

CPU time of a coroutine under a watch of [corowatch](corowatch.md) whose limits are not reached, as a ratio to the same without any
module, in Debian's interpreters (5.5: a plain one around the vendored library). Turns of 10 ms, processes in turn; the median of all turns and the
quartiles. The time of the timer thread is in it. Code that runs, then resuming:

{list}
The goals are 1.01 for code that runs, and 1.15 for resuming (LuaJIT: 1.4).

{watched}
The same under a watcher of thirty lines of plain Lua, [hookwatch.lua](../xtask/src/bench/lua/hookwatch.lua): a count hook that reads the clock
every 10000 instructions. On LuaJIT the compiler has to be off for it; with corowatch it is on, and compiled code
is reached. (`luajit -joff`: off for all three.)

{hook}
Memory for each of 10,000 coroutines that have been resumed once, with a callback each, in bytes: by the count of the Lua state, and of
the whole process, what the C library adds included. Columns with a + are what a watch takes beyond the coroutine; the goal is 200.

{memory}",
        watched = ratios(costs, |r| r.watched().map(with_quartiles)),
        hook = ratios(costs, |r| r.hook().map(|s| format!("{:.2}", s.median))),
        memory = memory(costs),
    )
}

fn with_quartiles(spread: Spread) -> String {
    let Spread {
        lower,
        median,
        upper,
        ..
    } = spread;
    format!("{median:.3} ({lower:.2}-{upper:.2})")
}

fn ratios(costs: &[Cost], cell: impl Fn(&Ratios) -> Option<String>) -> String {
    let mut head = vec!["workload"];
    head.extend(costs.iter().map(|cost| cost.name.as_str()));
    let rows: Vec<Vec<String>> = WORKLOADS
        .iter()
        .enumerate()
        .map(|(index, workload)| {
            let cells = costs
                .iter()
                .map(|cost| cell(&cost.ratios[index]).unwrap_or_else(|| "-".to_owned()));
            std::iter::once(workload.name.to_owned())
                .chain(cells)
                .collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

fn memory(costs: &[Cost]) -> String {
    let head = [
        "engine",
        "plain, state",
        "process",
        "corowatch, state",
        "process",
        "hook, state",
        "process",
    ];
    let rows: Vec<Vec<String>> = costs
        .iter()
        .filter_map(|cost| {
            let [plain, watched, hook] = cost.memory?;
            let beyond = |m: Memory| {
                [m.state - plain.state, m.process - plain.process].map(|b| format!("+{b:.0}"))
            };
            let mut row = vec![cost.name.clone()];
            row.extend([plain.state, plain.process].map(|bytes| format!("{bytes:.0}")));
            row.extend(beyond(watched));
            row.extend(beyond(hook));
            Some(row)
        })
        .collect();
    table::markdown(&head, &rows)
}

/// A row for each workload: a dot for each engine, and a ring for the hook there.
fn chart(costs: &[Cost]) -> String {
    let is_luajit = |cost: &Cost| cost.name.starts_with("luajit");
    let rows = WORKLOADS.iter().enumerate().map(|(index, workload)| {
        let words = |cost: &Cost, spread: &Spread| format!("{}: {:.3}", cost.name, spread.median);
        let rings = costs.iter().filter_map(|cost| {
            let spread = cost.ratios[index].hook()?;
            let mark = Mark::Ring(ORANGE);
            Some((mark, spread.median, words(cost, &spread)))
        });
        let dots = costs.iter().filter_map(|cost| {
            let spread = cost.ratios[index].watched()?;
            let mark = Mark::Dot(if is_luajit(cost) { TEAL } else { BLUE });
            Some((mark, spread.median, words(cost, &spread)))
        });
        Row {
            name: workload.name.to_owned(),
            marks: rings.chain(dots).collect(),
            ..Row::default()
        }
    });
    Rows {
        title: "What a watched coroutine costs",
        heading: "CPU time in a watched coroutine, as a ratio to the same without a watch (logarithmic; 1 is the same)",
        legend: vec![
            (Mark::Dot(BLUE), "corowatch of Leash, Lua 5.1 to 5.5: a mark for each"),
            (Mark::Dot(TEAL), "the same on LuaJIT, compiled, and with -joff"),
            (
                Mark::Ring(ORANGE),
                "a watcher in plain Lua: a count hook that reads the clock (LuaJIT: compiler off)",
            ),
        ],
        ticks: &[0.9, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
        logarithmic: true,
        goals: &[(1.15, "goal: 1.15")],
        rows: rows.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_has_all_tables_and_the_chart_all_rows() {
        let ratios = Ratios {
            watched: vec![1.125],
            hook: vec![2.5],
        };
        let memory = |bytes| Memory {
            state: bytes,
            process: bytes,
        };
        let costs = [
            Cost {
                name: "lua54".to_owned(),
                ratios: vec![ratios; WORKLOADS.len()],
                memory: Some([memory(1000.0), memory(1150.0), memory(1300.0)]),
            },
            Cost {
                name: "luajit -joff".to_owned(),
                ratios: vec![Ratios::default(); WORKLOADS.len()],
                memory: None,
            },
        ];
        let text = section(&costs).text;
        for part in ["1.125 (1.12-1.12)", "2.50", "+150", "+300", "| garbage"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let chart = chart(&costs);
        for workload in &WORKLOADS {
            assert!(chart.contains(&format!(">{}<", workload.name)));
        }
        assert!(chart.contains("lua54: 2.500"));
    }
}
