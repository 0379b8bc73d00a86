//! Limits, Ctrl-C and SIGTERM: the script stops, the message says why, the exit code too.

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libc::{SIGINT, SIGTERM};
use support::ends::{READY, assert_ends_with, end, line, send, start};
use support::{Folder, Outcome, leash, outcome};

/// What has not come by then does not come. The machine may be busy.
const SOON: Duration = Duration::from_secs(20);

/// Runs `code` from a file `x.lua` with these options.
fn script(name: &str, options: &[&str], code: &str) -> Outcome {
    let folder = Folder::new(name);
    folder.write("x.lua", code);
    outcome(leash(options).arg("x.lua").current_dir(folder.path()))
}

#[test]
fn a_timeout() {
    let started = Instant::now();
    let got = script(
        "timeout",
        &["--timeout", "100ms"],
        "print('begun')\nwhile true do end\n",
    );
    assert!(started.elapsed() < SOON);
    assert_eq!((got.code, &*got.stdout), (124, "begun\n"));
    assert!(
        line(&got).starts_with("leash: x.lua stopped: timeout of 100ms reached after 0.1"),
        "{}",
        got.stderr
    );
    assert!(
        got.stderr.contains("\n\tx.lua:2: in main chunk\n"),
        "{}",
        got.stderr
    );
}

#[test]
fn cpu_time() {
    let got = script(
        "cpu",
        &["--cpu", "50ms", "--timeout", "20s"],
        "while true do end",
    );
    assert_eq!(got.code, 124);
    assert!(
        line(&got).starts_with("leash: x.lua stopped: CPU time limit of 50ms reached after "),
        "{}",
        got.stderr
    );
}

#[test]
fn instructions() {
    let run = || {
        script(
            "instructions",
            &["--instructions", "1e5"],
            "local n = 0 while true do n = n + 1 end",
        )
    };
    let got = run();
    assert_eq!(got.code, 124);
    assert!(
        line(&got).starts_with("leash: x.lua stopped: limit of 100000 instructions reached after "),
        "{}",
        got.stderr
    );
}

#[test]
fn memory() {
    for (name, code) in [
        (
            "memory-many",
            "local t = {} while true do t[#t + 1] = {} end",
        ),
        ("memory-large", "local s = ('x'):rep(2^28) print(#s)"),
        (
            "memory-caught",
            "while true do pcall(string.rep, 'x', 2^28) end",
        ),
    ] {
        let got = script(name, &["--memory", "8M", "--timeout", "20s"], code);
        assert_eq!(
            (got.code, &*got.stdout),
            (124, ""),
            "{name}: {}",
            got.stderr
        );
        assert!(
            got.stderr
                .starts_with("leash: x.lua stopped: memory limit of 8 MiB reached after "),
            "{name}: {}",
            got.stderr
        );
    }
}

#[test]
fn a_limit_of_zero_stops_at_once() {
    for option in ["--timeout", "--cpu", "--instructions"] {
        let got = script("zero", &[option, "0"], "print('never')");
        assert_eq!((got.code, &*got.stdout), (124, ""), "{option}");
    }
}

#[test]
fn limits_that_are_not_reached() {
    let limits = [
        "--timeout",
        "20s",
        "--cpu",
        "20s",
        "--memory",
        "64M",
        "--instructions",
        "1e8",
        "--grace",
        "0",
    ];
    let got = script(
        "within",
        &limits,
        "local t = {} for i = 1, 1e4 do t[i] = {} end print('done') os.exit(3)",
    );
    assert_eq!(
        got,
        Outcome {
            code: 3,
            stdout: "done\n".into(),
            stderr: String::new()
        }
    );
    let got = script("within-error", &limits, "error('no', 0)");
    assert_eq!(got.code, 1);
    assert_eq!(line(&got), "leash: no");
}

#[test]
fn no_way_to_catch_it() {
    for code in [
        "while true do pcall(error) end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    ] {
        let got = script("catch", &["--timeout", "100ms"], code);
        assert_eq!(got.code, 124, "{code}: {}", got.stderr);
        assert!(
            line(&got).starts_with("leash: x.lua stopped: timeout of 100ms reached after "),
            "{code}: {}",
            got.stderr
        );
    }
}

#[test]
fn everything_that_runs_is_limited() {
    let stopped = |command: &mut Command, name: &str| {
        let got = outcome(command);
        assert_eq!(got.code, 124, "{}", got.stderr);
        assert!(
            line(&got).starts_with(&format!(
                "leash: {name} stopped: timeout of 100ms reached after "
            )),
            "{}",
            got.stderr
        );
    };
    let folder = Folder::new("everything");
    folder.write("m.lua", "while true do end");
    let path = format!("{}/?.lua", folder.path().display());
    let limit = ["--timeout", "100ms"];
    stopped(
        leash(limit).args(["-e", "while true do end"]),
        "(command line)",
    );
    stopped(
        leash(limit)
            .args(["-l", "m", "-e", ""])
            .env("LUA_PATH", path),
        "(command line)",
    );
    stopped(
        leash(limit)
            .args(["-e", ""])
            .env("LUA_INIT", "while true do end"),
        "(command line)",
    );
    stopped(
        leash(limit)
            .arg("-")
            .stdin(std::fs::File::open(folder.path().join("m.lua")).expect("it is there")),
        "stdin",
    );
}

#[test]
fn finalizers_at_the_end_are_limited() {
    let code = "local u = newproxy and newproxy(true) or setmetatable({}, {__gc = true})\n\
                getmetatable(u).__gc = function() print('begun') while true do end end\n";
    let got = script("finalizer", &["--timeout", "200ms"], code);
    assert_eq!((got.code, &*got.stdout), (124, "begun\n"), "{}", got.stderr);
    // LuaJIT and 5.5 have said before that a finalizer has failed.
    let message = "leash: x.lua stopped: timeout of 200ms reached after 0.2";
    assert!(got.stderr.contains(message), "{}", got.stderr);
    assert!(!got.stderr.contains("resumed from:\n\n"), "{}", got.stderr);
}

#[test]
fn output_comes_before_the_message_and_files_are_written() {
    let folder = Folder::new("order-of-output");
    folder.write(
        "x.lua",
        "io.stdout:setvbuf('full') io.write('buffered ') F = io.open('out', 'w') F:write('to the file') while true do end",
    );
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec \"$0\" run --timeout 100ms x.lua 2>&1",
            support::LEASH,
        ])
        .current_dir(folder.path());
    let got = outcome(&mut command);
    assert!(
        got.stdout.starts_with("buffered leash: x.lua stopped: "),
        "{}",
        got.stdout
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("out")).expect("the script has made it"),
        "to the file"
    );
}

#[test]
fn a_c_function_that_does_not_return_ends_with_the_process() {
    let started = Instant::now();
    let options = [
        "--timeout",
        "100ms",
        "--grace",
        "100ms",
        "--no-guard-stdlib",
    ];
    let got = script(
        "stuck",
        &options,
        "io.stdout:setvbuf('full') io.write('kept') ; (('a'):rep(60)):find(('a*'):rep(30) .. 'b')",
    );
    assert!(started.elapsed() < SOON);
    assert_eq!((got.code, &*got.stdout), (124, "kept"));
    assert!(
        got.stderr
            .starts_with("leash: x.lua has reached its limit (timeout 100ms), but after 0."),
        "{}",
        got.stderr
    );
    assert!(
        got.stderr
            .ends_with("cannot be interrupted; the process is ended\n"),
        "{}",
        got.stderr
    );
}

#[test]
fn a_pattern_that_does_not_come_to_an_end_is_stopped() {
    for call in [
        "(('a'):rep(1000)):find(('a*'):rep(30) .. 'b')",
        "string.match(('a'):rep(1000), ('a-'):rep(30) .. 'b')",
        "for _ in string.gmatch(('a'):rep(1000), ('a*'):rep(30) .. 'b') do end",
        "pcall(string.gsub, ('a'):rep(1000), ('a*'):rep(30) .. 'b', '')",
        "while true do string.rep('', 2^31 - 1) end",
    ] {
        let got = script(
            "pattern",
            &["--timeout", "50ms", "--grace", "30s"],
            &format!("local found = 1 {call}"),
        );
        assert_eq!(got.code, 124, "{call}: {}", got.stderr);
        assert!(
            line(&got).starts_with("leash: x.lua stopped: timeout of 50ms reached after 0."),
            "{}",
            got.stderr
        );
    }
}

#[test]
fn the_library_is_left_alone_if_asked_for() {
    let code = "local one = string.find print(one == string.find, pcall(string.find))";
    let ours = script("guarded", &[], code);
    let theirs = script("unguarded", &["--no-guard-stdlib"], code);
    assert_eq!((ours.code, theirs.code), (0, 0));
    assert_eq!(ours.stdout, theirs.stdout);
}

#[test]
fn output_that_nobody_reads_does_not_keep_the_process() {
    let mut child = leash([
        "--timeout",
        "100ms",
        "--grace",
        "200ms",
        "-e",
        "while true do print('line') end",
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the program starts");
    let started = Instant::now();
    let status = child.wait().expect("the program ends"); // with its pipe full
    assert!(started.elapsed() < SOON);
    assert_eq!(status.code(), Some(124));
}

#[test]
fn signals_stop_the_script_in_good_order() {
    for (signal, code, word) in [(SIGINT, 130, "interrupted"), (SIGTERM, 143, "terminated")] {
        let (child, mut stdout) = start(
            &[],
            &format!(
                "{READY} io.stdout:setvbuf('full') io.write('kept') while true do pcall(error) end"
            ),
        );
        send(&child, signal);
        assert_ends_with(child, code, word);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it can be read");
        assert_eq!(rest, "kept");
    }
}

#[test]
fn a_signal_that_is_not_answered_ends_the_process() {
    let busy = format!("{READY} ; (('a'):rep(60)):find(('a*'):rep(30) .. 'b')");
    let waits = format!("{READY} io.read()");
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        for script in [&busy, &waits] {
            let (child, _stdout) = start(&["--grace", "200ms", "--no-guard-stdlib"], script);
            let started = Instant::now();
            send(&child, signal);
            let (got, stderr) = end(child);
            assert_eq!(got, Some(code), "{script}: {stderr}");
            assert!(
                started.elapsed() < SOON,
                "{script}: {:?}",
                started.elapsed()
            );
        }
    }
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    let (child, _stdout) = start(
        &["--grace", "1h", "--no-guard-stdlib"],
        &format!("{READY} ; (('a'):rep(60)):find(('a*'):rep(30) .. 'b')"),
    );
    send(&child, SIGINT);
    std::thread::sleep(Duration::from_millis(100)); // two of a kind at once would be one
    send(&child, SIGTERM);
    let (got, stderr) = end(child);
    assert_eq!((got, &*stderr), (Some(143), ""));
}

#[test]
fn finalizers_after_a_signal_have_the_grace_period() {
    let code = "U = newproxy and newproxy(true) or setmetatable({}, {__gc = true})\n\
                getmetatable(U).__gc = function() while true do end end\n";
    let (child, _stdout) = start(
        &["--grace", "200ms"],
        &format!("{code} {READY} while true do end"),
    );
    let started = Instant::now();
    send(&child, SIGINT);
    let (got, stderr) = end(child);
    assert_eq!(got, Some(130), "{stderr}");
    assert!(started.elapsed() < SOON);
    // One stop, one message.
    assert_eq!(stderr.matches("leash:").count(), 1, "{stderr}");
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let mut command = leash(["-e", "os.execute('kill -INT $PPID') print('still here')"]);
    // SAFETY: ignores a signal and nothing else.
    unsafe {
        command.pre_exec(|| {
            libc::signal(SIGINT, libc::SIG_IGN);
            Ok(())
        });
    }
    assert_eq!(
        outcome(&mut command),
        Outcome {
            code: 0,
            stdout: "still here\n".into(),
            stderr: String::new()
        }
    );
}

/// A script that waits for input is stopped as any other, with its traceback; nobody has to end the process.
#[test]
fn a_script_that_reads() {
    let code = "io.write('ready\\n') io.flush() while true do pcall(io.read) end";
    let (child, _stdout) = start(&["--timeout", "300ms", "--grace", "1h"], code);
    let (code, stderr) = end(child);
    assert_eq!(code, Some(124));
    assert!(
        stderr.contains("timeout of 300ms reached after ") && stderr.contains("traceback"),
        "{stderr}"
    );
}
