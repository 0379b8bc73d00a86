//! A stop, in words that a person at a terminal understands, and its exit code.

use std::ffi::c_int;
use std::time::Duration;

use crate::args::RunOptions;
use crate::{exit, signals};
use leash::{Limits, Reason, Stop};

/// The message for a stop: `x.lua stopped: timeout of 1s reached after 1.003s`, then the traceback if there is one.
pub fn message(script: &str, stop: &Stop) -> String {
    let line = match stop.reason {
        Reason::Interrupt => signals::word().to_owned(),
        _ => format!("{script} stopped: {stop}"),
    };
    with_traceback(&line, &stop.traceback)
}

fn with_traceback(line: &str, traceback: &str) -> String {
    let traceback = traceback.trim_end_matches('\n');
    let separator = if traceback.is_empty() { "" } else { "\n" };
    format!("{line}{separator}{traceback}")
}

/// The message for a script that ought to stop, and does not come back to Lua.
pub fn stuck_message(
    script: &str,
    options: &RunOptions,
    reason: Reason,
    elapsed: Duration,
) -> String {
    let limit = limit(options, reason).to_string();
    let cause = match reason {
        Reason::Interrupt => format!("{script} was {}", signals::word()),
        Reason::Kill => format!("{script} was killed"),
        _ => format!("{script} has reached its limit ({limit})"),
    };
    let elapsed = elapsed.as_secs_f64();
    format!(
        "{cause}, but after {elapsed:.3}s it is still inside a C function, a system call or a finalizer that cannot be \
         interrupted; the process is ended"
    )
}

/// The amount of the limit that `reason` is about, in the engine's words: `1s`, `64 MiB`. Empty if it is about none.
pub fn amount(options: &RunOptions, reason: Reason) -> String {
    let limit = limit(options, reason).to_string();
    limit
        .strip_prefix(&format!("{reason} "))
        .unwrap_or_default()
        .to_owned()
}

/// The one limit that `reason` is about.
fn limit(options: &RunOptions, reason: Reason) -> Limits {
    let none = Limits::new();
    match reason {
        Reason::Timeout => options.timeout.map(|t| none.timeout(t)),
        Reason::Cpu => options.cpu.map(|t| none.cpu(t)),
        Reason::Instructions => options.instructions.map(|n| none.instructions(n)),
        Reason::Memory => options.memory.map(|n| none.memory(n)),
        _ => None,
    }
    .unwrap_or_default()
}

/// The exit code for a stop.
pub fn code(reason: Reason) -> c_int {
    match reason {
        Reason::Interrupt => signals::code(),
        _ => exit::LIMIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceback_follows_on_lines_of_its_own() {
        assert_eq!(with_traceback("x.lua stopped", ""), "x.lua stopped");
        assert_eq!(
            with_traceback(
                "x.lua stopped",
                "stack traceback:\n\tx.lua:1: in main chunk\n"
            ),
            "x.lua stopped\nstack traceback:\n\tx.lua:1: in main chunk"
        );
    }

    #[test]
    fn a_stuck_script_is_explained() {
        let options = RunOptions {
            timeout: Some(Duration::from_millis(1500)),
            memory: Some(64 << 20),
            ..RunOptions::default()
        };
        let say = |reason| stuck_message("x.lua", &options, reason, Duration::from_millis(2501));
        let rest = "but after 2.501s it is still inside a C function, a system call or a finalizer that cannot be interrupted; the process is ended";
        assert_eq!(
            say(Reason::Timeout),
            format!("x.lua has reached its limit (timeout 1.5s), {rest}")
        );
        assert_eq!(
            say(Reason::Memory),
            format!("x.lua has reached its limit (memory 64 MiB), {rest}")
        );
        assert_eq!(
            say(Reason::Interrupt),
            format!("x.lua was interrupted, {rest}")
        );
        assert_eq!(say(Reason::Kill), format!("x.lua was killed, {rest}"));
    }

    #[test]
    fn amounts() {
        let options = RunOptions {
            timeout: Some(Duration::from_millis(1500)),
            instructions: Some(1000),
            ..RunOptions::default()
        };
        assert_eq!(amount(&options, Reason::Timeout), "1.5s");
        assert_eq!(amount(&options, Reason::Instructions), "1000");
        assert_eq!(amount(&options, Reason::Memory), "");
        assert_eq!(amount(&options, Reason::Interrupt), "");
    }

    #[test]
    fn codes() {
        assert_eq!(code(Reason::Timeout), 124);
        assert_eq!(code(Reason::Cpu), 124);
        assert_eq!(code(Reason::Instructions), 124);
        assert_eq!(code(Reason::Memory), 124);
        assert_eq!(code(Reason::Kill), 124);
        assert_eq!(code(Reason::Interrupt), 130);
    }
}
