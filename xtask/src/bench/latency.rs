//! How fast Leash is where it has to act: from a request on another thread to the hook, and from a deadline to the return of the call.
//!
//! Both from Rust (`crates/bench/src/latency.rs`, `overshoot.rs`), in interpreted code on each engine and in compiled code on LuaJIT.

use anyhow::{Context, Result};

use super::native::{Native, Tail};
use super::report::Section;
use super::rows::{Mark, Row, Rows};
use super::svg::{BLUE, INK, ORANGE};
use crate::engine::Engine;
use crate::table;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Interrupts.
    pub interrupts: u32,
    /// Calls with a timeout.
    pub calls: u32,
}

/// What was measured, in microseconds.
pub struct Measured {
    name: String,
    latency: Tail,
    overshoot: Tail,
}

/// Measures all.
pub fn measure(natives: &[Native], amount: Amount) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for native in natives {
        for code in ["interpreted", "compiled"] {
            if code == "compiled" && native.engine != Engine::Luajit {
                continue;
            }
            let name = match native.engine {
                Engine::Luajit => format!("luajit, {code}"),
                engine => engine.name().to_owned(),
            };
            println!("{name}: latency, and how late deadlines are");
            let tail = |what: &str, number: u32| {
                let values = native.values(&[what, code, &number.to_string()], what)?;
                Tail::of(&values).with_context(|| format!("measuring {what}"))
            };
            all.push(Measured {
                latency: tail("latency", amount.interrupts)?,
                overshoot: tail("overshoot", amount.calls)?,
                name,
            });
        }
    }
    Ok(all)
}

/// The section.
pub fn section(all: &[Measured]) -> Section {
    let first = all.first();
    let interrupts = first.map_or(0.0, |m| m.latency.samples);
    let calls = first.map_or(0.0, |m| m.overshoot.samples);
    let text = format!(
        "\
## Latency, and how late a deadline is

![Microseconds from request to hook, and from deadline to the end of the call](benchmarks/latency.svg)

From `interrupt(id)` on another thread to the handler that runs in the hook of the interrupted state, {interrupts} times on each engine, in
microseconds; an endless loop with calls and a table, which on LuaJIT is compiled or not:

{latency}
An endless loop in a call with a timeout of 5 ms, {calls} times: how many microseconds after the 5 ms control is back. The timer thread
has to be woken by the system first, so this is also what the system needs for that.

{overshoot}",
        latency = tails(all, |m| m.latency),
        overshoot = tails(all, |m| m.overshoot),
    );
    Section {
        text,
        charts: vec![("latency.svg", chart(all))],
    }
}

fn tails(all: &[Measured], tail: impl Fn(&Measured) -> Tail) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|m| {
            let Tail {
                p50,
                p99,
                p999,
                max,
                ..
            } = tail(m);
            let numbers = [p50, p99, p999, max].map(|value| format!("{value:.1}"));
            std::iter::once(m.name.clone()).chain(numbers).collect()
        })
        .collect();
    table::markdown(&["engine", "p50", "p99", "p99.9", "greatest"], &rows)
}

fn chart(all: &[Measured]) -> String {
    let row = |name: String, tail: Tail| {
        let marks = [
            (Mark::Ring(INK), tail.p999, "99.9 % below"),
            (Mark::Ring(ORANGE), tail.p99, "99 % below"),
            (Mark::Dot(BLUE), tail.p50, "half below"),
        ];
        let marks =
            marks.map(|(mark, value, words)| (mark, value, format!("{words} {value:.1} us")));
        Row {
            name,
            marks: marks.to_vec(),
            bar: Some((BLUE, tail.p50, tail.p99)),
            words: format!("{:.0}", tail.p50),
        }
    };
    let heading = |name: &str| Row {
        name: name.to_owned(),
        ..Row::default()
    };
    let mut rows = vec![heading("REQUEST TO HOOK")];
    rows.extend(all.iter().map(|m| row(m.name.clone(), m.latency)));
    rows.push(heading("DEADLINE TO END"));
    rows.extend(all.iter().map(|m| row(m.name.clone(), m.overshoot)));
    Rows {
        title: "How fast Leash acts",
        heading: "Microseconds from a request on another thread to the hook; from a deadline to the end of the call (logarithmic)",
        legend: vec![
            (Mark::Dot(BLUE), "half of them are below (the number on the right)"),
            (Mark::Ring(ORANGE), "99 % are below"),
            (Mark::Ring(INK), "99.9 % are below"),
        ],
        ticks: &[5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0],
        logarithmic: true,
        goals: &[],
        rows,
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_and_the_chart() {
        let tail = |p50| Tail {
            samples: 1000.0,
            p50,
            p99: 30.0,
            p999: 40.0,
            max: 50.0,
        };
        let section = section(&[Measured {
            name: "lua54".to_owned(),
            latency: tail(14.0),
            overshoot: tail(70.0),
        }]);
        for part in ["1000 times", "14.0", "70.0", "50.0"] {
            assert!(section.text.contains(part), "{part}:\n{}", section.text);
        }
        assert!(section.charts[0].1.contains("99.9 % below 40.0 us"));
    }
}
