//! Standard streams: a script that comes from there, output whole and in order, pipes and descriptors that are closed.

use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::process::Stdio;

use crate::script;
use crate::support::{self, Folder, LEASH, command, leash, outcome, outcome_with_input};

#[test]
fn standard_input() {
    let got = outcome_with_input(
        leash(["-", "a"]).stdin(Stdio::null()),
        "print(arg[0], ..., arg[1])",
    );
    assert_eq!((got.code, &*got.stdout), (0, "-\ta\ta\n"));
    let got = outcome_with_input(&mut leash([""; 0]), "print('piped', select('#', ...))");
    assert_eq!((got.code, &*got.stdout), (0, "piped\t0\n"));
    // What follows the script's end of line stays for the script to read? No: all of it is the script.
    let got = outcome_with_input(&mut leash(["-"]), "error('no')");
    assert_eq!(got.code, 1);
    assert!(
        got.stderr.starts_with("leash: stdin:1: no\n"),
        "{}",
        got.stderr
    );
    // As in lua, which says 0 here.
    let got = outcome_with_input(&mut leash([""; 0]), "error('no')");
    assert_eq!(got.code, 0);
    assert!(
        got.stderr.starts_with("leash: stdin:1: no\n"),
        "{}",
        got.stderr
    );
    // With -e there is no script, and standard input is the code's to read.
    let got = outcome_with_input(&mut leash(["-e", "print(io.read())"]), "a line\n");
    assert_eq!((got.code, &*got.stdout), (0, "a line\n"));
    // After '--', even '-' is a file.
    let folder = Folder::new("dash");
    folder.write("-", "print('the file')");
    let got = outcome(leash(["--", "-"]).current_dir(folder.path()));
    assert_eq!((got.code, &*got.stdout), (0, "the file\n"));
}

#[test]
fn a_terminal_without_a_script_is_wrong_usage() {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: writes two descriptors; no name, settings or size is given.
    let status = unsafe {
        libc::openpty(
            &mut master,
            &mut slave,
            none,
            none.cast_const().cast::<libc::termios>().cast_mut(),
            none.cast_const().cast::<libc::winsize>().cast_mut(),
        )
    };
    assert_eq!(status, 0, "a pseudo terminal can be opened");
    // SAFETY: both descriptors are open and ours.
    let (_master, slave) = unsafe {
        (
            std::fs::File::from_raw_fd(master),
            std::fs::File::from_raw_fd(slave),
        )
    };
    let got = outcome(leash([""; 0]).stdin(slave));
    assert_eq!(got.code, 2);
    assert_eq!(
        got.stderr,
        "leash: no SCRIPT and no -e, and standard input is a terminal ('-' runs it all the same); see 'leash run --help'\n"
    );
}

#[test]
fn output_is_written_whole_and_in_order() {
    let got = script(
        "io.stdout:setvbuf('full') for i = 1, 20000 do print(i) end",
        &[],
    );
    assert_eq!((got.code, got.stdout.lines().count()), (0, 20000));
    // The script's own stderr is the same stream as the messages'.
    let got = script(
        "io.stderr:setvbuf('full') io.stderr:write('first ') error('then', 0)",
        &[],
    );
    assert!(
        got.stderr.starts_with("first leash: then\n"),
        "{}",
        got.stderr
    );
}

#[test]
fn a_closed_pipe_ends_the_script_by_its_signal() {
    let mut child = leash(["-e", "while true do print('line') end"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let mut line = [0; 5];
    stdout.read_exact(&mut line).expect("there is a line");
    drop(stdout);
    let got = support::finish(child);
    assert_eq!((got.code, &*got.stderr), (-libc::SIGPIPE, ""));
}

#[test]
fn closed_streams_stay_closed() {
    let mut shell = command("sh");
    shell
        .args([
            "-c",
            "exec \"$0\" run -e 'io.stdout:write(\"x\") io.stdout:flush()' >&- 2>&-; echo $?",
        ])
        .arg(LEASH);
    assert_eq!(outcome(&mut shell).code, 0);
    let mut shell = command("sh");
    shell
        .args(["-c", "\"$0\" run -e 'assert(not io.read())' <&-"])
        .arg(LEASH);
    assert_eq!(outcome(&mut shell).code, 0);
}

#[test]
fn a_large_script_from_a_pipe() {
    let mut code = String::new();
    for i in 0..20_000 {
        code.push_str(&format!("x = {i}\n"));
    }
    code.push_str("print(x)");
    let got = outcome_with_input(&mut leash(["-"]), &code);
    assert_eq!((got.code, &*got.stdout), (0, "19999\n"));
}

#[test]
fn messages_survive_a_full_stderr() {
    let mut child = leash(["-e", "error('no')"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stderr.take());
    let status = child.wait().expect("the program ends");
    assert!(!status.success());
    std::io::stdout().flush().expect("standard output works");
}
