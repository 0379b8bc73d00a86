//! The section of the report about many of everything: tables and a chart.

use super::{ATTACHED, COROUTINES, Coroutines, STATES, States};
use crate::bench::report::Section;
use crate::bench::rows::{Mark, Row, Rows};
use crate::bench::svg::{BLUE, ORANGE};
use crate::table;

/// The section.
pub fn section(states: &[States], coroutines: &[Coroutines]) -> Section {
    let text = format!(
        "\
## Many states, many coroutines

![Time of a resume under a watch, for 1 to 100,000 coroutines](benchmarks/scale.svg)

{STATES} states with their standard libraries in one process. Bytes of the process for each, without Leash and what attaching adds. Then each state
in the middle of a call with a deadline: the CPU time of the timer thread while none is due, in milliseconds for each second; and when all
come at once: how long until the last call has ended, and the CPU time of the timer thread for it (one thread runs them all, so it stops
them one after the other).

{deadlines}
A process with so many attached states: the time to attach one more, and from a request to the hook of one of them while the others are
idle, in microseconds (half are below / 99 % are below):

{attached}
`resume` and `yield` of as many coroutines in turn, under a watch of [corowatch](corowatch.md): nanoseconds, and in brackets the ratio to
coroutines that nobody watches. (With their number more of them are outside the processor's caches, watched or not.)

{resumes}
Memory that a watch adds to each coroutine, in bytes of the process, the limits and the callbacks being those of a server (see above):

{memory}",
        deadlines = deadlines(states),
        attached = attached(states),
        resumes = resumes(coroutines),
        memory = memory(coroutines),
    );
    Section {
        text,
        charts: vec![("scale.svg", chart(coroutines))],
    }
}

fn deadlines(states: &[States]) -> String {
    let head = [
        "engine",
        "bytes, plain",
        "attached",
        "timer, ms/s",
        "all stopped, ms",
        "timer, ms",
    ];
    let rows: Vec<Vec<String>> = states
        .iter()
        .map(|s| {
            vec![
                s.name.to_owned(),
                format!("{:.0}", s.plain),
                format!("+{:.0}", s.attached - s.plain),
                format!("{:.3}", s.idle.1 / s.idle.0),
                format!("{:.0}", s.stopped),
                format!("{:.0}", s.total - s.idle.1),
            ]
        })
        .collect();
    table::markdown(&head, &rows)
}

fn attached(states: &[States]) -> String {
    let mut head = vec!["states".to_owned()];
    for s in states {
        head.push(format!("{}, attach", s.name));
        head.push("reach".to_owned());
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = ATTACHED
        .iter()
        .enumerate()
        .map(|(index, number)| {
            let cells = states.iter().flat_map(|s| {
                let (attach, reach) = s.growing[index];
                [attach, reach].map(|tail| format!("{:.0} / {:.0}", tail.p50, tail.p99))
            });
            std::iter::once(number.to_string()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

fn resumes(coroutines: &[Coroutines]) -> String {
    let mut head = vec!["coroutines"];
    head.extend(coroutines.iter().map(|c| c.name));
    let rows: Vec<Vec<String>> = COROUTINES
        .iter()
        .enumerate()
        .map(|(index, number)| {
            let cells = coroutines.iter().map(|c| {
                let (_, watched) = c.nanos(index);
                format!("{watched:.0} ({:.2})", c.ratio(index).median)
            });
            std::iter::once(number.to_string()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

fn memory(coroutines: &[Coroutines]) -> String {
    let mut head = vec!["coroutines"];
    head.extend(coroutines.iter().map(|c| c.name));
    let numbers = COROUTINES.iter().filter(|&&number| number >= 1000);
    let rows: Vec<Vec<String>> = numbers
        .enumerate()
        .map(|(index, number)| {
            let cells = coroutines
                .iter()
                .map(|c| format!("+{:.0}", c.memory[index]));
            std::iter::once(number.to_string()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head, &rows)
}

fn chart(coroutines: &[Coroutines]) -> String {
    let rows = COROUTINES.iter().enumerate().map(|(index, number)| {
        let mut row = Row {
            name: format!("{number} coroutines"),
            ..Row::default()
        };
        for c in coroutines {
            let (plain, watched) = c.nanos(index);
            let words = |nanos: f64| format!("{}: {nanos:.0} ns", c.name);
            row.marks.push((Mark::Ring(ORANGE), plain, words(plain)));
            row.marks.push((Mark::Dot(BLUE), watched, words(watched)));
        }
        row
    });
    Rows {
        title: "How watched coroutines scale",
        heading: "Nanoseconds for resume and yield of many coroutines in turn (logarithmic; each mark is an engine)",
        legend: vec![
            (Mark::Dot(BLUE), "watched by corowatch"),
            (Mark::Ring(ORANGE), "watched by nobody"),
        ],
        ticks: &[20.0, 50.0, 100.0, 200.0, 500.0],
        logarithmic: true,
        goals: &[],
        rows: rows.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::native::Tail;

    #[test]
    fn all_tables_and_the_chart() {
        let tail = |p50| Tail {
            samples: 100.0,
            p50,
            p99: 90.0,
            p999: 95.0,
            max: 99.0,
        };
        let states = [States {
            name: "lua54",
            plain: 24_000.0,
            attached: 26_500.0,
            idle: (2.0, 0.5),
            total: 30.5,
            stopped: 180.0,
            growing: vec![(tail(40.0), tail(15.0)); ATTACHED.len()],
        }];
        let coroutines = [Coroutines {
            name: "lua54",
            resumes: vec![vec![(100e-9, 125e-9)]; COROUTINES.len()],
            memory: vec![105.0, 104.0, 103.0],
        }];
        let section = section(&states, &coroutines);
        for part in [
            "+2500",
            "0.250",
            "| 100000 ",
            "40 / 90",
            "15 / 90",
            "125 (1.25)",
            "+104",
        ] {
            assert!(section.text.contains(part), "{part}:\n{}", section.text);
        }
        let chart = &section.charts[0].1;
        assert!(chart.contains("lua54: 125 ns") && chart.contains("100000 coroutines"));
    }
}
