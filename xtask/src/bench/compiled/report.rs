//! The section of the report about known programs: tables and a chart.

use super::{Measured, PROGRAMS, Times, Variant};
use crate::bench::report::Section;
use crate::bench::rows::{Mark, Row, Rows};
use crate::bench::svg::{BLUE, ORANGE};
use crate::engine::Engine;
use crate::stats::Spread;
use crate::table;

/// The section.
pub fn section(measured: &[Measured]) -> Section {
    let mut text = String::from("## Known programs\n");
    let mut charts = Vec::new();
    if let Some(jit) = measured.iter().find(|m| m.engine == Engine::Luajit) {
        text += &compiled(jit);
        charts.push(("compiled.svg", chart(jit)));
    }
    let others: Vec<&Measured> = measured
        .iter()
        .filter(|m| m.engine != Engine::Luajit)
        .collect();
    if !others.is_empty() {
        text += &interpreted(&others);
    }
    Section { text, charts }
}

fn compiled(jit: &Measured) -> String {
    let runs = jit
        .programs
        .first()
        .map_or(0, |t| t.of(Variant::Call).len());
    let worst = jit.programs.iter().max_by(|a, b| {
        let ratio = |t: &Times| t.ratio(Variant::Call).map_or(0.0, |s| s.median);
        ratio(a).total_cmp(&ratio(b))
    });
    let worst = worst.map_or(String::new(), |t| {
        let ratio = t.ratio(Variant::Call).map_or(0.0, |s| s.median);
        format!("{}, {ratio:.2}", t.name)
    });
    format!(
        "
![Ratios of CPU time for each program in LuaJIT](benchmarks/compiled.svg)

Debian's `luajit`, with the compiler on: CPU time of the work of a program inside `leash.call` with a timeout of an hour, as a ratio to the same
without Leash in the same round. {runs} processes for each number, in turn; the median and, in brackets, the quartiles. *Again* is the plain program once
more: what is not further from 1 than that is chance. (Which pieces LuaJIT compiles depends on addresses, so each process begins by
allocating something else.) *Attached* is outside `leash.call`, with the module loaded: the guards in compiled code are there from then on. The last column is
what one pays otherwise: no Leash, and `jit.off()`.

The goals are 1.03 for the mean and 1.15 for each program. The greatest: {worst}.

{table}",
        table = compiled_table(jit),
    )
}

fn compiled_table(jit: &Measured) -> String {
    let head = [
        "program",
        "plain s",
        "again",
        "leash.call",
        "attached",
        "jit.off()",
    ];
    let mut rows: Vec<Vec<String>> = jit
        .programs
        .iter()
        .map(|times| {
            let ratio = |variant| cell(times.ratio(variant));
            vec![
                times.name.to_owned(),
                format!("{:.3}", times.plain().median),
                ratio(Variant::Again),
                ratio(Variant::Call),
                ratio(Variant::Attached),
                slow(times.ratio(Variant::Interpreted)),
            ]
        })
        .collect();
    let mean = |variant| {
        let mean = jit.mean(variant);
        mean.map_or_else(|| "-".to_owned(), |mean| format!("**{mean:.3}**"))
    };
    rows.push(vec![
        "**geometric mean**".to_owned(),
        String::new(),
        mean(Variant::Again),
        mean(Variant::Call),
        mean(Variant::Attached),
        mean(Variant::Interpreted),
    ]);
    table::markdown(&head, &rows)
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |s| format!("{:.3} ({:.2}-{:.2})", s.median, s.lower, s.upper),
    )
}

fn slow(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |s| format!("{:.1}", s.median))
}

fn interpreted(engines: &[&Measured]) -> String {
    let runs = engines[0]
        .programs
        .first()
        .map_or(0, |t| t.of(Variant::Call).len());
    format!(
        "
The same programs in the interpreters of the other versions (5.5: a plain one around the vendored library), inside `leash.call` with a timeout of
an hour, as a ratio to the same without Leash; {runs} processes for each number. In brackets the plain program once more: chance. The goal is
1.01.

{}",
        interpreted_table(engines)
    )
}

fn interpreted_table(engines: &[&Measured]) -> String {
    let mut head = vec!["program"];
    head.extend(engines.iter().map(|m| m.engine.name()));
    let both = |call: f64, again: f64| format!("{call:.3} ({again:.3})");
    let mut rows = Vec::new();
    for known in PROGRAMS.iter().filter(|known| known.interpreted.is_some()) {
        let cells = engines.iter().map(|m| {
            let times = m.programs.iter().find(|t| t.name == known.name)?;
            let median = |variant| Some(times.ratio(variant)?.median);
            Some(both(median(Variant::Call)?, median(Variant::Again)?))
        });
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
        let name = std::iter::once(known.name.to_owned());
        rows.push(name.chain(cells).collect());
    }
    let means = engines.iter().map(|m| {
        let (call, again) = (m.mean(Variant::Call), m.mean(Variant::Again));
        both(call.unwrap_or(f64::NAN), again.unwrap_or(f64::NAN))
    });
    let name = std::iter::once("**geometric mean**".to_owned());
    rows.push(name.chain(means).collect());
    table::markdown(&head, &rows)
}

fn chart(jit: &Measured) -> String {
    let row = |times: &Times| {
        let (call, again) = (times.ratio(Variant::Call), times.ratio(Variant::Again));
        let mut row = Row {
            name: times.name.to_owned(),
            words: format!(
                "jit.off(): {} times",
                slow(times.ratio(Variant::Interpreted))
            ),
            ..Row::default()
        };
        if let Some(s) = again {
            let words = format!("again: {:.3}", s.median);
            row.marks.push((Mark::Ring(ORANGE), s.median, words));
        }
        if let Some(s) = call {
            let words = format!("leash.call: {:.3}", s.median);
            row.marks.push((Mark::Dot(BLUE), s.median, words));
            row.bar = Some((BLUE, s.lower, s.upper));
        }
        row
    };
    let mut rows: Vec<Row> = jit.programs.iter().map(row).collect();
    let mut mean = Row {
        name: "geometric mean".to_owned(),
        ..Row::default()
    };
    for (variant, mark) in [
        (Variant::Again, Mark::Ring(ORANGE)),
        (Variant::Call, Mark::Dot(BLUE)),
    ] {
        if let Some(value) = jit.mean(variant) {
            mean.marks.push((mark, value, format!("{value:.3}")));
        }
    }
    mean.words = jit
        .mean(Variant::Call)
        .map_or_else(String::new, |value| format!("{value:.3}"));
    rows.push(mean);
    Rows {
        title: "What known programs cost under Leash in LuaJIT",
        heading: "CPU time of compiled programs in LuaJIT inside leash.call, as a ratio to the same without Leash (less is faster)",
        legend: vec![
            (
                Mark::Dot(BLUE),
                "inside leash.call; the bar is half of the processes",
            ),
            (
                Mark::Ring(ORANGE),
                "without Leash once more: how far from 1 chance goes",
            ),
        ],
        ticks: &[0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
        logarithmic: false,
        goals: &[(1.03, "mean: 1.03"), (1.15, "each: 1.15")],
        rows,
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_and_the_chart() {
        let times = |name| {
            let mut seconds: [Vec<f64>; 5] = Default::default();
            seconds[Variant::Plain as usize] = vec![1.0];
            seconds[Variant::Again as usize] = vec![1.01];
            seconds[Variant::Call as usize] = vec![1.125];
            seconds[Variant::Attached as usize] = vec![1.0625];
            seconds[Variant::Interpreted as usize] = vec![8.0];
            Times { name, seconds }
        };
        let measured = |engine| Measured {
            engine,
            programs: PROGRAMS.iter().map(|known| times(known.name)).collect(),
        };
        let section = section(&[measured(Engine::Lua54), measured(Engine::Luajit)]);
        for part in [
            "1.125 (1.12-1.12)",
            "**1.125**",
            "**1.062**",
            "8.0",
            "1.125 (1.010)",
            "| richards ",
        ] {
            assert!(section.text.contains(part), "{part}:\n{}", section.text);
        }
        let (name, chart) = &section.charts[0];
        assert_eq!(*name, "compiled.svg");
        for part in ["richards", "jit.off(): 8.0 times", "each: 1.15"] {
            assert!(chart.contains(part), "{part}");
        }
    }
}
