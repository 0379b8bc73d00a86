//! `leash-bench`: what `cargo xtask bench` measures from Rust, one engine for each build.
//!
//! Each measurement is a process of its own, so that none inherits the memory, the timer's alarms or the compiled code of another. It
//! writes lines of a name and numbers; `xtask` reads them and makes the tables.
//!
//! | | |
//! |---|---|
//! | `latency interpreted\|compiled N` | from a request on another thread to the hook, N times |
//! | `overshoot interpreted\|compiled N` | how late a call with a timeout of 5 ms gives control back |
//! | `alarms` | what arming and disarming the watchdog costs |
//! | `memory plain\|attached N` | bytes of the process for each of N states |
//! | `deadlines N SECONDS` | N states with an armed deadline each: the CPU time of the timer thread |
//! | `attach N` | the time to attach one more state when there are N, and to reach one of them |
//! | `work WORKLOAD VARIANT` | runs code as often as its input says, plainly or bounded in one of several ways |

mod alarms;
mod deadlines;
mod latency;
mod lua;
mod many;
mod overshoot;
mod process;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["latency", code, samples] => latency::run(code == "compiled", number(samples)),
        ["overshoot", code, calls] => overshoot::run(code == "compiled", number(calls)),
        ["alarms"] => alarms::run(),
        ["memory", variant, states] => many::memory(variant == "attached", number(states)),
        ["deadlines", states, seconds] => deadlines::run(number(states), number(seconds)),
        ["attach", states] => many::attach(number(states)),
        ["work", workload, variant] => work::run(workload, variant),
        _ => {
            eprintln!("leash-bench: the header of its main.rs says what to ask for");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn number(word: &str) -> usize {
    word.parse()
        .unwrap_or_else(|_| panic!("'{word}' is not a whole number"))
}
