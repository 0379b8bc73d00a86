//! The command line: what belongs to whom, and in which order.

use std::os::unix::ffi::OsStringExt;

use super::*;

fn parse(arguments: &[&str]) -> Result<RunOptions, Usage> {
    let arguments = ["leash", "run"]
        .iter()
        .chain(arguments)
        .map(OsString::from)
        .collect();
    parse_from(arguments, false).map(|Request::Run(options)| options)
}

fn options(arguments: &[&str]) -> RunOptions {
    parse(arguments).unwrap_or_else(|e| panic!("{arguments:?}: {e:?}"))
}

fn refused(arguments: &[&str]) -> String {
    match parse(arguments).expect_err("this must be refused") {
        Usage::Clap(error) => error.to_string(),
        Usage::Line(line) => line,
    }
}

#[test]
fn clap_finds_no_fault_with_it() {
    Cli::command().debug_assert();
}

#[test]
fn limits() {
    let o = options(&[
        "--timeout",
        "1.5s",
        "--cpu=200ms",
        "--memory",
        "64M",
        "--instructions",
        "1e8",
        "--grace",
        "0",
        "x.lua",
    ]);
    assert_eq!(o.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(o.cpu, Some(Duration::from_millis(200)));
    assert_eq!(o.memory, Some(64 << 20));
    assert_eq!(o.instructions, Some(100_000_000));
    assert_eq!(o.grace, Duration::ZERO);
    assert_eq!(o.program, Program::File(11));
    let o = options(&["x.lua"]);
    assert_eq!(
        (o.timeout, o.cpu, o.memory, o.instructions),
        (None, None, None, None)
    );
    assert_eq!(o.grace, Duration::from_secs(1));
}

#[test]
fn everything_after_the_script_is_the_scripts() {
    let o = options(&["x.lua", "--timeout", "1s", "-e", "--", "-", "--help", "-V"]);
    assert_eq!(
        (o.timeout, o.program, o.steps),
        (None, Program::File(2), vec![])
    );
    let o = options(&["-", "--timeout", "1s"]);
    assert_eq!((o.timeout, o.program), (None, Program::Stdin(2)));
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(
        options(&["--", "-x.lua", "--", "a"]).program,
        Program::File(3)
    );
    assert_eq!(
        options(&["--timeout", "1s", "--", "--timeout"]).program,
        Program::File(5)
    );
    // As in lua: after them, '-' is a file.
    assert_eq!(options(&["--", "-"]).program, Program::File(3));
    assert_eq!(options(&["--"]).program, Program::PipedInput);
    assert_eq!(options(&["-e", "f()", "--"]).program, Program::Nothing);
}

#[test]
fn steps_keep_their_order() {
    let code = |s: &str| Step::execute(s.into());
    let module = |s: &str| Step::library(s.into());
    assert_eq!(
        options(&["-e1", "-l", "m", "-e", "2", "-ln"]).steps,
        [code("1"), module("m"), code("2"), module("n")]
    );
    assert_eq!(options(&["-l", "m"]).program, Program::PipedInput);
    assert_eq!(options(&["-e", ""]).steps, [code("")]);
}

#[test]
fn warnings_have_their_place_among_the_steps() {
    if compat::HAS_WARNINGS {
        let o = options(&["-e", "1", "-W", "-e", "2", "-W"]);
        assert_eq!(
            o.steps,
            [
                Step::execute("1".into()),
                Step::Warnings,
                Step::execute("2".into()),
                Step::Warnings
            ]
        );
    } else {
        assert_eq!(
            refused(&["-W", "x.lua"]),
            format!(
                "-W needs Lua 5.4 or later, and this is {}",
                compat::release()
            )
        );
    }
}

#[test]
fn flags_may_be_repeated_and_joined() {
    assert!(options(&["-E", "-E", "x.lua"]).ignore_environment);
    assert!(options(&["--no-guard-stdlib", "--no-guard-stdlib", "x.lua"]).no_guard_stdlib);
    assert!(!options(&["x.lua", "--no-guard-stdlib"]).no_guard_stdlib);
    assert!(!options(&["x.lua", "-E"]).ignore_environment);
    let o = options(&["-Ee", "f()"]);
    assert!(o.ignore_environment);
    assert_eq!(o.steps, [Step::execute("f()".into())]);
}

#[test]
fn arguments_are_bytes() {
    let bytes = b"caf\xe9\xff".to_vec();
    let arguments = ["leash", "run", "-e"].iter().map(OsString::from).chain([
        OsString::from_vec(bytes.clone()),
        OsString::from_vec(b"\xff.lua".to_vec()),
    ]);
    let Request::Run(o) = parse_from(arguments.collect(), false).unwrap();
    assert_eq!(
        o.steps,
        [Step::Execute(std::ffi::CString::new(bytes).unwrap())]
    );
    assert_eq!(o.program, Program::File(4));
}

#[test]
fn standard_input_is_run_unless_it_is_a_terminal() {
    let arguments = || vec![OsString::from("leash"), OsString::from("run")];
    assert!(
        matches!(parse_from(arguments(), false), Ok(Request::Run(o)) if o.program == Program::PipedInput)
    );
    assert!(matches!(parse_from(arguments(), true), Err(Usage::Line(_))));
    let named = arguments()
        .into_iter()
        .chain([OsString::from("-")])
        .collect();
    assert!(
        matches!(parse_from(named, true), Ok(Request::Run(o)) if o.program == Program::Stdin(2))
    );
}

#[test]
fn mistakes_are_refused() {
    assert!(refused(&["--timout", "1s", "x.lua"]).contains("unexpected argument '--timout'"));
    assert!(refused(&["-x", "x.lua"]).contains("unexpected argument '-x'"));
    assert!(refused(&["--timeout", "x.lua"]).contains("it is not a number"));
    assert!(refused(&["--timeout", "-1s", "x.lua"]).contains("unexpected argument '-1'"));
    assert!(refused(&["--timeout=-1s", "x.lua"]).contains("it is negative"));
    assert!(refused(&["--timeout"]).contains("a value is required"));
    assert!(
        refused(&["--timeout", "1s", "--timeout", "2s", "x.lua"])
            .contains("cannot be used multiple times")
    );
    assert!(refused(&["-e"]).contains("a value is required"));
    // Not a run of the comment '--timeout' without a limit.
    assert!(refused(&["-e", "--timeout", "1s"]).contains("a value is required for '-e <CODE>'"));
}
