//! What `leash.call` costs: to enter and to leave, against `pcall`; and the code that runs inside.
//!
//! In the standard interpreters ([`call.lua`](lua/call.lua)), processes in turn. And what the alarm beneath it costs alone, from Rust.

use anyhow::{Context, Result};

use super::host::{Host, Worker, turns};
use super::native::Native;
use super::report::Section;
use super::rows::{Mark, Row, Rows};
use super::svg::{BLUE, ORANGE};
use crate::engine::Engine;
use crate::stats::Spread;
use crate::table;

const TURNS: usize = 9;
/// Calls in one repetition of the workload "empty".
const CALLS: f64 = 100.0;

/// How an empty function is called: the name in `call.lua`, and how reports call it.
const VARIANTS: [(&str, &str); 6] = [
    ("pcall", "pcall(f)"),
    ("prepared", "timeout, prepared"),
    ("timeout", "timeout"),
    ("memory", "timeout, memory"),
    ("cpu", "timeout, cpu"),
    ("all", "timeout, memory, cpu"),
];

/// Code that runs inside.
const RUNNING: [&str; 3] = ["loop", "tables", "calls"];

/// What was measured on one engine.
pub struct Cost {
    name: String,
    /// Nanoseconds of each turn for one call, in the order of the variants.
    empty: Vec<Vec<f64>>,
    /// Ratios of each turn, in the order of the running code.
    running: Vec<Vec<f64>>,
}

/// What the watchdog costs: nanoseconds.
pub struct Alarms {
    /// Arming for a later time, and disarming.
    pair: Spread,
    /// Arming for another time that is later than what the timer thread sleeps for.
    later: Spread,
    /// Reading the clock.
    now: Spread,
    /// Arming for an earlier time, which wakes the timer thread.
    wake: Spread,
}

/// Measures the calls.
pub fn measure(hosts: &[Host], rounds: u32) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for host in hosts {
        for interpreted in [false, true] {
            if !interpreted || host.engine == Engine::Luajit {
                costs.push(one(host, interpreted, rounds)?);
            }
        }
    }
    Ok(costs)
}

fn one(host: &Host, interpreted: bool, rounds: u32) -> Result<Cost> {
    let name = match interpreted {
        true => format!("{} -joff", host.engine),
        false => host.engine.name().to_owned(),
    };
    println!("leash.call: {name}, {rounds} rounds");
    let start = |workload: &str, variant: &str| {
        let mut command = host.command("call.lua");
        command.args([workload, variant]);
        if interpreted {
            command.arg("interpreted");
        }
        Worker::start(&mut command)
    };
    let mut cost = Cost {
        empty: vec![Vec::new(); VARIANTS.len()],
        running: vec![Vec::new(); RUNNING.len()],
        name,
    };
    for _ in 0..rounds {
        let workers = VARIANTS.iter().map(|(variant, _)| start("empty", variant));
        let mut workers = workers.collect::<Result<Vec<_>>>()?;
        let all = turns(&mut workers, TURNS).context("an empty function")?;
        for times in all {
            for (nanos, time) in cost.empty.iter_mut().zip(times) {
                nanos.push(time * 1e9 / CALLS);
            }
        }
        for (workload, ratios) in RUNNING.iter().zip(&mut cost.running) {
            let mut workers = [start(workload, "plain")?, start(workload, "timeout")?];
            let all = turns(&mut workers, TURNS).with_context(|| (*workload).to_owned())?;
            ratios.extend(all.iter().map(|times| times[1] / times[0]));
        }
    }
    Ok(cost)
}

/// Measures the watchdog, which is the same on all engines.
pub fn alarms(native: &Native) -> Result<Alarms> {
    let lines = native.run(&["alarms"])?;
    let spread = |name| super::native::find(&lines, name).map(Spread::of);
    Ok(Alarms {
        pair: spread("arm_and_disarm")?,
        later: spread("move_later")?,
        now: spread("now")?,
        wake: spread("wake_timer")?,
    })
}

impl Cost {
    fn nanos(&self, variant: usize) -> f64 {
        Spread::of(self.empty[variant].iter().copied()).median
    }

    /// Nanoseconds more than `pcall`, turn by turn.
    fn more(&self, variant: usize) -> Spread {
        let turns = self.empty[variant].iter().zip(&self.empty[0]);
        Spread::of(turns.map(|(call, pcall)| call - pcall))
    }
}

/// The section.
pub fn section(costs: &[Cost], alarms: &Alarms) -> Section {
    let text = format!(
        "\
## What a call with limits costs

![Nanoseconds more than pcall, for each limit and engine](benchmarks/call.svg)

CPU time of one `leash.call(t, f)` with an empty `f`, in the standard interpreters (5.5: a plain one around the
vendored library), in nanoseconds: `pcall(f)` as it is, then how much more each set of limits takes; in brackets the quartiles of all turns. `t` is a table that is made once;
*prepared*: it has also been read once, by `leash.limits`. The goal for `timeout` alone is 150. (LuaJIT compiles a loop of empty `pcall`s to nothing, and not one of `leash.call`s; `-joff` is like with like.)

{empty}
Code that runs inside one such call, as a ratio to the same without. The goal is 1.01.

{running}
The alarm beneath it alone (`watchdog`), from Rust, in nanoseconds: reading the clock takes {now:.0}, arming and disarming {pair:.1}, moving a
deadline {later:.1}. Where the deadline is earlier than all others, the timer thread has to be woken: {wake:.0} (quartiles {low:.0}-{high:.0}).
",
        empty = empty(costs),
        running = running(costs),
        now = alarms.now.median,
        pair = alarms.pair.median,
        later = alarms.later.median,
        wake = alarms.wake.median,
        low = alarms.wake.lower,
        high = alarms.wake.upper,
    );
    Section {
        text,
        charts: vec![("call.svg", chart(costs))],
    }
}

fn head<'a>(first: &'a str, costs: &'a [Cost]) -> Vec<&'a str> {
    let names = costs.iter().map(|cost| cost.name.as_str());
    std::iter::once(first).chain(names).collect()
}

fn empty(costs: &[Cost]) -> String {
    let rows: Vec<Vec<String>> = VARIANTS
        .iter()
        .enumerate()
        .map(|(index, (_, name))| {
            let cells = costs.iter().map(|cost| match index {
                0 => format!("{:.0}", cost.nanos(0)),
                _ => {
                    let s = cost.more(index);
                    format!("+{:.0} ({:.0}-{:.0})", s.median, s.lower, s.upper)
                }
            });
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head("limits", costs), &rows)
}

fn running(costs: &[Cost]) -> String {
    let rows: Vec<Vec<String>> = RUNNING
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let cells = costs.iter().map(|cost| {
                let s = Spread::of(cost.running[index].iter().copied());
                format!("{:.3} ({:.2}-{:.2})", s.median, s.lower, s.upper)
            });
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    table::markdown(&head("workload", costs), &rows)
}

/// A row for each engine, a mark for each set of limits.
fn chart(costs: &[Cost]) -> String {
    let mark = [
        None,
        Some(Mark::Dot(BLUE)),
        Some(Mark::Ring(BLUE)),
        None, // the table says it
        Some(Mark::Ring(ORANGE)),
        None, // hardly more than the one before
    ];
    let rows = costs.iter().map(|cost| {
        let marks = mark.iter().enumerate().filter_map(|(index, mark)| {
            let nanos = cost.more(index).median;
            let words = format!("{}, {}: {nanos:.0} ns", cost.name, VARIANTS[index].1);
            mark.map(|mark| (mark, nanos, words))
        });
        let timeout = cost.more(1);
        Row {
            name: cost.name.clone(),
            marks: marks.collect(),
            bar: Some((BLUE, timeout.lower, timeout.upper)),
            words: format!("{:.0} ns", timeout.median),
        }
    });
    Rows {
        title: "What a call with limits costs",
        heading: "Nanoseconds that leash.call of an empty function takes more than pcall (logarithmic)",
        legend: vec![
            (
                Mark::Dot(BLUE),
                "with a timeout, prepared (the number on the right; the bar is half of the turns)",
            ),
            (Mark::Ring(BLUE), "with a timeout in a table"),
            (
                Mark::Ring(ORANGE),
                "with a timeout and a limit on CPU time, whose clock is a system call",
            ),
        ],
        ticks: &[50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0],
        logarithmic: true,
        goals: &[(150.0, "goal: 150")],
        rows: rows.collect(),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::super::host::scripts;
    use super::*;

    #[test]
    fn the_script_knows_what_is_asked_of_it() {
        let read = |name| std::fs::read_to_string(scripts().join(name)).expect("readable");
        let (script, running) = (read("call.lua"), read("running.lua"));
        for (variant, _) in &VARIANTS[1..] {
            assert!(script.contains(&format!("  {variant} = {{")), "{variant}");
        }
        for workload in RUNNING {
            let known = format!("  {workload} = function");
            assert!(running.contains(&known), "{workload}");
        }
    }

    #[test]
    fn the_section_tells_differences_and_ratios() {
        let cost = Cost {
            name: "lua54".to_owned(),
            empty: vec![
                vec![30.0],
                vec![130.0],
                vec![150.0],
                vec![180.0],
                vec![1200.0],
                vec![1250.0],
            ],
            running: vec![vec![1.0625]; RUNNING.len()],
        };
        let one = |value| Spread::of([value]);
        let alarms = Alarms {
            pair: one(2.5),
            later: one(2.75),
            now: one(25.0),
            wake: one(900.0),
        };
        let section = section(&[cost], &alarms);
        for part in [
            "| pcall(f)",
            "+100 (100-100)",
            "+120 (120-120)",
            "+1220",
            "1.062 (1.06-1.06)",
            "900",
        ] {
            assert!(section.text.contains(part), "{part}:\n{}", section.text);
        }
        assert!(section.charts[0].1.contains("lua54, timeout, cpu: 1170 ns"));
    }
}
