//! Limits and signals while the script itself is being read: standard input, or a pipe, that nobody writes to.
//!
//! No Lua runs then, so nothing meets a hook. The engine ends the system call that waits, and Lua takes that for a read error.

mod support;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use libc::{SIGINT, SIGTERM};
use support::ends::{READY, assert_ends_with, line, send, start_with};
use support::{Folder, leash, outcome};

const LIMIT: [&str; 2] = ["--timeout", "100ms"];

/// Runs it to its end, which must be that of a timeout.
fn is_late(command: &mut Command, name: &str) {
    let got = outcome(command);
    assert_eq!((got.code, &*got.stdout), (124, ""), "{}", got.stderr);
    assert!(
        line(&got).starts_with(&format!(
            "leash: {name} stopped: timeout of 100ms reached after "
        )),
        "{}",
        got.stderr
    );
}

#[test]
fn a_timeout_while_standard_input_is_awaited() {
    for arguments in [&[][..], &["-"]] {
        // A pipe whose other end stays open.
        let mut feeder = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let pipe = feeder.stdout.take().expect("it is a pipe");
        is_late(leash(LIMIT).args(arguments).stdin(pipe), "stdin");
        feeder.kill().expect("it still sleeps");
        feeder.wait().expect("it has been killed");
    }
}

#[test]
fn a_timeout_while_a_pipe_is_opened() {
    let folder = Folder::new("reading");
    let path = folder.path().join("pipe");
    let name = CString::new(path.as_os_str().as_bytes()).expect("a path is a C string");
    // SAFETY: makes a file of this name, which is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    is_late(leash(LIMIT).arg("pipe").current_dir(folder.path()), "pipe");
    is_late(
        leash(LIMIT)
            .args(["-e", ""])
            .env("LUA_INIT", "@pipe")
            .current_dir(folder.path()),
        "(command line)",
    );
}

#[test]
fn signals_while_standard_input_is_awaited() {
    for (signal, code, word) in [(SIGINT, 130, "interrupted"), (SIGTERM, 143, "terminated")] {
        let (mut child, _stdout) = start_with(&["--grace", "1h"], READY, &["-"]);
        let stdin = child.stdin.take(); // `wait` would close it
        send(&child, signal);
        assert_ends_with(child, code, word);
        drop(stdin);
    }
}

/// What cannot be read for another reason is reported as before, also where a limit is set.
#[test]
fn other_errors_of_reading_are_the_scripts() {
    let got = outcome(leash(["--timeout", "20s"]).arg("/no/such/script.lua"));
    assert_eq!(got.code, 1);
    assert!(
        got.stderr
            .starts_with("leash: cannot open /no/such/script.lua"),
        "{}",
        got.stderr
    );
}
