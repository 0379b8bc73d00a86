//! The report, `docs/benchmarks.md`: where and with what it was measured, and a section for each part.

use super::late::Late;
use super::machine::Machine;
use super::programs::{Program, Start, median};
use crate::engine::Engine;
use crate::examples;
use crate::stats::geometric_mean;
use crate::table;

/// What a part of the report says.
pub struct Section {
    /// Markdown.
    pub text: String,
    /// Its charts: names of files, and what is in them.
    pub charts: Vec<(&'static str, String)>,
}

/// The whole report: the parts that were measured now, and of an `old` report those that were not. `order` names all parts.
///
/// Each part stands between two comments that name it, and says when it was measured.
pub fn markdown(
    machine: &Machine,
    order: &[String],
    sections: &[(String, Section)],
    old: &str,
) -> String {
    let facts: String = machine
        .facts
        .iter()
        .map(|(what, is)| format!("- {what}: {is}\n"))
        .collect();
    let when = facts.lines().next().unwrap_or_default();
    let mut text = format!(
        "\
# What Leash costs, and how late it stops

Written by `cargo xtask bench`, which repeats all of it; `cargo xtask bench --only PART --docs` repeats one part. The machine of the last run:

{facts}"
    );
    for name in order {
        let (begin, end) = (
            format!("<!-- part: {name} -->"),
            format!("<!-- end: {name} -->"),
        );
        match sections.iter().find(|(part, _)| part == name) {
            Some((_, section)) => {
                let (what, load) = (when.trim_start_matches("- "), machine.load);
                let body = section.text.trim();
                text += &format!("\n{begin}\n{body}\n\n({what}, load {load:.1})\n{end}\n");
            }
            None => {
                if let Some(from) = old.find(&begin)
                    && let Some(length) = old[from..].find(&end)
                {
                    text += &format!("\n{}\n", &old[from..from + length + end.len()]);
                }
            }
        }
    }
    text
}

/// The corpus, `rounds` times, and an empty script.
pub fn cost(rounds: u32, programs: &[Program], starts: &[Start]) -> String {
    let mean = geometric_mean(programs.iter().map(Program::cost));
    let wall = geometric_mean(programs.iter().map(Program::cost_wall));
    format!(
        "\
## What it costs while nothing is stopped

![Ratios of CPU time for each program of the corpus](benchmarks/cost.svg)

The programs of [tests/corpus](../tests/corpus/README.md) on Lua 5.4, under `leash run --timeout 60s`, under a plain interpreter and
under Debian's `lua5.4`. The plain interpreter is thirty lines of C around the very Lua library that is in `leash`, so what differs
is Leash; Debian's is another release by other compiler settings, and what users have. {rounds} rounds, the three in turn;
user and system time of the process in seconds, the median; the quartiles are those of the ratios within each round.

On average over all programs Leash takes **{mean:.3}** times the CPU time of the plain interpreter, and {wall:.3} times the time on the
clock.

{programs}
## An empty script

From before the start of the process to its end, in milliseconds.

{starts}",
        programs = corpus(programs),
        starts = start_up(starts),
    )
}

/// The runaway examples.
pub fn lateness(late: &[Late]) -> String {
    let summary: Vec<_> = late
        .iter()
        .map(|late| (late.engine, late.runs.clone()))
        .collect();
    let runs = late
        .first()
        .map_or(0, |late| late.runs.len() / late.examples().len().max(1));
    format!(
        "\
## How late a runaway script is stopped

![Time from the limit to the end of the process, for each engine](benchmarks/late.svg)

[`examples/runaway`](../examples/README.md) under `leash run --timeout 200ms`, {runs} runs each, in milliseconds: the time of the whole process, minus the
limit, minus the least time of a process with an empty script. It contains the way to the end: closing the state, and its garbage.
Where no hook reaches yet, the command ends the process after the grace time, here one second; these are named, not counted.
The goal is 50 ms.

{summary}
Each script, median / maximum:

{scripts}",
        summary = examples::summary(&summary),
        scripts = scripts(late),
    )
}

fn corpus(programs: &[Program]) -> String {
    let head = [
        "program",
        "lua5.4 s",
        "plain s",
        "leash s",
        "leash / plain",
        "quartiles",
        "on the clock",
        "leash / lua5.4",
    ];
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut rows: Vec<Vec<String>> = programs
        .iter()
        .map(|program| {
            let rounds = program.rounds();
            let stock = program.stock.as_ref();
            vec![
                program.name.clone(),
                or_dash(stock.map(|times| format!("{:.3}", median(&times.cpu)))),
                format!("{:.3}", median(&program.plain.cpu)),
                format!("{:.3}", median(&program.leash.cpu)),
                format!("{:.3}", program.cost()),
                format!("{:.3}-{:.3}", rounds.lower, rounds.upper),
                format!("{:.3}", program.cost_wall()),
                or_dash(program.against_stock().map(|ratio| format!("{ratio:.3}"))),
            ]
        })
        .collect();
    let stock: Option<Vec<f64>> = programs.iter().map(Program::against_stock).collect();
    let mean =
        |of: fn(&Program) -> f64| format!("**{:.3}**", geometric_mean(programs.iter().map(of)));
    let empty = String::new();
    rows.push(vec![
        "**geometric mean**".to_owned(),
        empty.clone(),
        empty.clone(),
        empty.clone(),
        mean(Program::cost),
        empty,
        mean(Program::cost_wall),
        or_dash(stock.map(|ratios| format!("**{:.3}**", geometric_mean(ratios)))),
    ]);
    table::markdown(&head, &rows)
}

fn start_up(starts: &[Start]) -> String {
    let rows: Vec<Vec<String>> = starts
        .iter()
        .map(|start| {
            vec![
                start.name.clone(),
                format!("{:.2}", start.wall.median),
                format!("{:.2}-{:.2}", start.wall.lower, start.wall.upper),
                format!("{:.2}", start.cpu.median),
            ]
        })
        .collect();
    table::markdown(&["program", "clock", "quartiles", "CPU time"], &rows)
}

fn scripts(engines: &[Late]) -> String {
    let mut head = vec!["script"];
    head.extend(engines.iter().map(|late| Engine::name(late.engine)));
    let columns: Vec<_> = engines.iter().map(Late::examples).collect();
    let names = columns.first().into_iter().flatten();
    let rows: Vec<Vec<String>> = names
        .enumerate()
        .map(|(index, (name, _))| {
            let cells = columns.iter().map(|column| match column[index].1 {
                Some(spread) => format!("{:.1} / {:.1}", spread.median, spread.max),
                None => "grace".to_owned(),
            });
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::super::programs::Times;
    use super::*;
    use crate::examples::Stopped;
    use crate::stats::Spread;

    #[test]
    fn the_report_has_all_tables() {
        let times = |seconds: f64| Times {
            cpu: vec![seconds],
            wall: vec![seconds],
        };
        let machine = Machine {
            facts: vec![("Date", "2026-01-01".to_owned())],
            load: 0.0,
        };
        let programs = [Program {
            name: "nbody".to_owned(),
            stock: None,
            plain: times(1.0),
            leash: times(1.25),
        }];
        let starts = [Start {
            name: "plain".to_owned(),
            wall: Spread::of([1.0]),
            cpu: Spread::of([0.5]),
        }];
        let late = [Late {
            engine: Engine::Lua54,
            runs: vec![Stopped {
                name: "loop.lua".to_owned(),
                late: 1.5,
                by_grace: false,
            }],
        }];
        let section = |name: &str, text| {
            let charts = Vec::new();
            (name.to_owned(), Section { text, charts })
        };
        let sections = [
            section("cost", cost(1, &programs, &starts)),
            section("late", lateness(&late)),
        ];
        let order = ["cost", "other", "late"].map(str::to_owned);
        let old = "old\n<!-- part: other -->\nkept\n<!-- end: other -->\n<!-- part: late -->\nreplaced\n<!-- end: late -->\n";
        let text = markdown(&machine, &order, &sections, old);
        assert!(text.contains("kept") && !text.contains("replaced") && !text.contains("old"));
        assert_eq!(
            markdown(&machine, &order, &[], &text)
                .matches("<!-- part")
                .count(),
            3
        );
        for part in [
            "- Date: 2026-01-01",
            "**1.250**",
            "| nbody ",
            "1 runs each",
            "1.5 / 1.5",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
