//! A script that leaves the process by `os.exit`: where a stop has been necessary, that is what is told, not the script's exit code.

mod support;

use libc::{SIGINT, SIGTERM};
use support::ends::{end, line, send, start};
use support::{Outcome, leash, outcome};

/// `os.exit` of 5.1 does not close the state.
const CLOSES: bool = cfg!(not(feature = "lua51"));

/// The state is closed by `os.exit`, and this has it run `f`.
fn finalizer(f: &str) -> String {
    format!(
        "U = newproxy and newproxy(true) or setmetatable({{}}, {{__gc = true}})\n\
         getmetatable(U).__gc = {f}\n"
    )
}

fn run(options: &[&str], code: &str) -> Outcome {
    outcome(leash(options).args(["-e", code]))
}

#[test]
fn a_limit_while_it_leaves() {
    let endless = finalizer("function() io.write('begun') while true do end end");
    let limits = ["--timeout", "100ms", "--grace", "1h"];
    let got = run(&limits, &format!("{endless} os.exit(7, true)"));
    if CLOSES {
        assert_eq!((got.code, &*got.stdout), (124, "begun"), "{}", got.stderr);
        let message = "leash: (command line) stopped: timeout of 100ms reached after 0.";
        assert!(got.stderr.contains(message), "{}", got.stderr);
    } else {
        assert_eq!((got.code, &*got.stdout), (7, ""), "{}", got.stderr);
    }
}

#[test]
fn a_signal_while_it_leaves() {
    if !CLOSES {
        return;
    }
    let endless = finalizer("function() io.write('ready\\n') io.flush() while true do end end");
    for (signal, code, word) in [(SIGINT, 130, "interrupted"), (SIGTERM, 143, "terminated")] {
        let (child, _stdout) = start(&["--grace", "1h"], &format!("{endless} os.exit(7, true)"));
        send(&child, signal);
        let (got, stderr) = end(child);
        assert_eq!(got, Some(code), "{stderr}");
        assert!(
            stderr.contains(&format!("leash: {word}\nstack traceback:\n\t")),
            "{stderr}"
        );
    }
}

/// A finalizer that leaves, after a stop that has been told.
#[test]
fn a_stop_stays_a_stop() {
    let leaves = finalizer("function() os.exit(0) end");
    let got = run(
        &["--timeout", "50ms"],
        &format!("{leaves} while true do end"),
    );
    assert_eq!(got.code, 124, "{}", got.stderr);
    assert!(
        line(&got).starts_with("leash: (command line) stopped: timeout of 50ms reached after 0."),
        "{}",
        got.stderr
    );
}

#[test]
fn what_ends_by_itself_has_its_own_code() {
    let ends = finalizer("function() io.write('finalized') end");
    let limits = ["--timeout", "20s", "--cpu", "20s", "--instructions", "1e8"];
    for (code, output) in [
        ("os.exit(7, true)", if CLOSES { "finalized" } else { "" }),
        ("os.exit(7)", ""),
        ("os.exit(7, false)", ""),
        ("coroutine.wrap(function() os.exit(7) end)()", ""),
    ] {
        let got = run(&limits, &format!("{ends} {code}"));
        assert_eq!(
            got,
            Outcome {
                code: 7,
                stdout: output.into(),
                stderr: String::new()
            },
            "{code}"
        );
    }
    let got = run(&limits, &finalizer("function() os.exit(7) end"));
    assert_eq!(got.code, 7, "{}", got.stderr);
}
