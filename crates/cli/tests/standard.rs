//! `leash run` is a standard `lua`: arguments, options, environment, errors, exit codes.

mod support;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use support::{ENGINE, Folder, LEASH, command, execute, leash, outcome, outcome_with_input};

/// 5.1 and 5.2 have no `arg` before the script, and silence for a nil error.
const OLD: bool = cfg!(any(feature = "lua51", feature = "lua52"));
const JIT: bool = cfg!(feature = "luajit");
const HAS_WARNINGS: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// Runs `code` as the script `x.lua` with these arguments after it.
fn script(code: &str, arguments: &[&str]) -> support::Outcome {
    let folder = Folder::new(&format!("script-{:x}", hash(code)));
    folder.write("x.lua", code);
    outcome(leash(["x.lua"]).args(arguments).current_dir(folder.path()))
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (text, std::thread::current().id()).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn arguments_of_the_script() {
    let got = script(
        "print(select('#', ...), ...) print(#arg, arg[1], arg[2], arg[3])",
        &["a", "--timeout", "1s"],
    );
    assert_eq!(got.stdout, "3\ta\t--timeout\t1s\n3\ta\t--timeout\t1s\n");
    assert_eq!((got.code, &*got.stderr), (0, ""));
}

#[test]
fn arguments_before_the_script() {
    let folder = Folder::new("before");
    let file = folder.write(
        "x.lua",
        "local i = 0 while arg[i] do io.write(i, '=', arg[i], '\\n') i = i - 1 end",
    );
    let got = outcome(&mut leash(["--timeout", "10s", "-e", "x = 1", &file, "a"]));
    assert_eq!(
        got.stdout,
        format!("0={file}\n-1=x = 1\n-2=-e\n-3=10s\n-4=--timeout\n-5=run\n-6={LEASH}\n")
    );
}

#[test]
fn the_table_arg_without_a_script() {
    let got = execute("print(arg and arg[0], arg and arg[1], arg and arg[-1])");
    let expected = match ENGINE {
        "lua51" | "lua52" => "nil\tnil\tnil\n".to_owned(),
        "luajit" => "nil\tnil\tprint(arg and arg[0], arg and arg[1], arg and arg[-1])\n".to_owned(),
        _ => format!("{LEASH}\trun\tnil\n"),
    };
    assert_eq!(got.stdout, expected);
}

#[test]
fn arguments_can_be_changed_before_the_script_sees_them() {
    let folder = Folder::new("changed");
    let file = folder.write("x.lua", "print(...)");
    let got = outcome(&mut leash([
        "-e",
        "if arg then arg[1] = 'new' end",
        &file,
        "old",
    ]));
    assert_eq!(got.stdout, if OLD { "old\n" } else { "new\n" });
    let got = outcome(&mut leash(["-e", "arg = 1", &file, "old"]));
    match ENGINE {
        "lua51" | "lua52" => assert_eq!(got.stdout, "old\n"),
        "luajit" => assert_eq!(got.stdout, "\n"),
        _ => assert_eq!(
            (got.code, &*got.stderr),
            (1, "leash: 'arg' is not a table\n")
        ),
    }
}

#[test]
fn arguments_that_are_not_utf8() {
    let folder = Folder::new("bytes");
    let file = folder.write("x.lua", "print((...):byte(1, -1))");
    let got = outcome(leash([&*file]).arg(OsStr::from_bytes(b"\xff\xe9a\x80")));
    assert_eq!((got.code, &*got.stdout), (0, "255\t233\t97\t128\n"));
    let got = outcome(leash(["-e"]).arg(OsStr::from_bytes(b"print(('\xff\xfe'):byte(1, -1))")));
    assert_eq!((got.code, &*got.stdout), (0, "255\t254\n"));
    std::fs::copy(
        folder.path().join("x.lua"),
        folder.path().join(OsStr::from_bytes(b"\xff.lua")),
    )
    .expect("a file can be copied");
    let got = outcome(
        leash([OsStr::from_bytes(b"\xff.lua"), OsStr::from_bytes(b"a")]).current_dir(folder.path()),
    );
    assert_eq!((got.code, &*got.stdout), (0, "97\n"));
}

#[test]
fn options_run_in_their_order() {
    let folder = Folder::new("order");
    folder.write("m.lua", "io.write('m') return {}");
    folder.write("n.lua", "io.write('n') return {}");
    let file = folder.write("x.lua", "io.write('x')");
    let path = format!("{}/?.lua", folder.path().display());
    let got = outcome(
        leash([
            "-e",
            "io.write(1)",
            "-l",
            "m",
            "-e",
            "io.write(2)",
            "-ln",
            &file,
            "-e",
            "no",
        ])
        .env("LUA_PATH", &path),
    );
    assert_eq!((got.code, &*got.stdout, &*got.stderr), (0, "1m2nx", ""));
    // The first that fails is the last that runs.
    let got = outcome(
        leash([
            "-e",
            "io.write(1)",
            "-e",
            "error('no', 0)",
            "-l",
            "m",
            &file,
        ])
        .env("LUA_PATH", &path),
    );
    assert_eq!((got.code, &*got.stdout), (1, "1"));
    assert!(
        got.stderr.starts_with("leash: no\nstack traceback:\n"),
        "{}",
        got.stderr
    );
    let got = outcome(&mut leash(["-l", "nowhere"]));
    assert_eq!(got.code, 1);
    assert!(
        got.stderr
            .starts_with("leash: module 'nowhere' not found:\n"),
        "{}",
        got.stderr
    );
}

#[test]
fn required_modules_become_global() {
    let folder = Folder::new("globals");
    folder.write("m.lua", "return 'module'");
    folder.write("m-v2.lua", "return 'second'");
    let path = format!("{}/?.lua", folder.path().display());
    let run = |option: &str, code: &str| {
        outcome(leash(["-l", option, "-e", code]).env("LUA_PATH", &path)).stdout
    };
    let set = !cfg!(any(feature = "lua51", feature = "luajit"));
    assert_eq!(run("m", "print(m)"), if set { "module\n" } else { "nil\n" });
    if HAS_WARNINGS {
        assert_eq!(run("g=m", "print(g, m)"), "module\tnil\n");
        assert_eq!(run("m-v2", "print(m)"), "second\n");
    }
}

#[test]
fn lua_init_runs_first() {
    let folder = Folder::new("init");
    let init = folder.write("init.lua", "io.write('file ')");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        outcome(leash(arguments).envs(variables.iter().copied()))
    };
    let last = &["-e", "io.write('e')"];
    assert_eq!(
        run(&[("LUA_INIT", "io.write('init ')")], last).stdout,
        "init e"
    );
    assert_eq!(
        run(&[("LUA_INIT", &format!("@{init}"))], last).stdout,
        "file e"
    );
    let versioned = match ENGINE {
        "lua52" => "LUA_INIT_5_2",
        "lua53" => "LUA_INIT_5_3",
        "lua54" => "LUA_INIT_5_4",
        "lua55" => "LUA_INIT_5_5",
        _ => "LUA_INIT_5_1", // has no meaning there
    };
    let both = [
        ("LUA_INIT", "io.write('plain ')"),
        (versioned, "io.write('versioned ')"),
    ];
    let first = if cfg!(any(feature = "lua51", feature = "luajit")) {
        "plain "
    } else {
        "versioned "
    };
    assert_eq!(run(&both, last).stdout, format!("{first}e"));
    // An error in it is the end, and names it.
    let got = run(&[("LUA_INIT", "error('no')")], last);
    assert_eq!((got.code, &*got.stdout), (1, ""));
    assert!(
        got.stderr.starts_with("leash: LUA_INIT:1: no\n"),
        "{}",
        got.stderr
    );
    // And -E knows nothing of it.
    let got = run(
        &[("LUA_INIT", "error('no')"), (versioned, "error('no')")],
        &["-E", "-e", "io.write('e')"],
    );
    assert_eq!((got.code, &*got.stdout, &*got.stderr), (0, "e", ""));
}

#[test]
fn the_environment_sets_the_paths_unless_it_is_ignored() {
    let code = "io.write(package.path, ' ', package.cpath, ' ', os.getenv('LUA_PATH'), ' ', os.getenv('LUA_CPATH'))";
    let run = |options: &[&str]| {
        outcome(
            leash(options)
                .args(["-e", code])
                .env("LUA_PATH", "/p/?.lua")
                .env("LUA_CPATH", "/c/?.so"),
        )
        .stdout
    };
    assert_eq!(run(&[]), "/p/?.lua /c/?.so /p/?.lua /c/?.so");
    let ignored = run(&["-E"]);
    assert!(
        !ignored.starts_with("/p/") && !ignored.contains("/c/?.so /p"),
        "{ignored}"
    );
    assert!(
        ignored.ends_with(" /p/?.lua /c/?.so"),
        "the script still sees the variables: {ignored}"
    );
}

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
fn errors_have_tracebacks() {
    let got = script("local function f() error('no') end\nf()\n", &[]);
    assert_eq!((got.code, &*got.stdout), (1, ""));
    let lines: Vec<&str> = got.stderr.lines().collect();
    assert_eq!(lines[..2], ["leash: x.lua:1: no", "stack traceback:"]);
    assert!(
        lines[2].starts_with("\t[C]: in ") && lines[2].ends_with(" 'error'"),
        "{lines:?}"
    );
    assert!(
        lines[3].starts_with("\tx.lua:1: in ") && lines[4].starts_with("\tx.lua:2: in main chunk"),
        "{lines:?}"
    );
    assert!(
        lines[5].starts_with("\t[C]: ") && lines.len() == 6,
        "{lines:?}"
    );
}

#[test]
fn error_objects() {
    let run = |code: &str| {
        let got = execute(code);
        assert_eq!((got.code, &*got.stdout), (1, ""), "{code}");
        got.stderr
    };
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let named = "error(setmetatable({}, {__tostring = function() return 'my name' end}))";
    let expected = if ENGINE == "lua51" {
        "leash: (error object is not a string)\n"
    } else {
        "leash: my name\n"
    };
    let got = run(named);
    assert_eq!(if JIT { first_line(got) + "\n" } else { got }, expected);
    assert_eq!(
        first_line(run("error({})")),
        match ENGINE {
            "lua51" | "luajit" => "leash: (error object is not a string)",
            "lua52" => "leash: (no error message)",
            _ => "leash: (error object is a table value)",
        }
    );
    assert_eq!(
        first_line(run("error(nil)")),
        match ENGINE {
            "lua51" | "lua52" | "luajit" => "",
            _ => "leash: (error object is a nil value)",
        }
    );
    // Up to 5.2 a number is a string to `error`, and gets a position.
    let number = if OLD || JIT {
        "leash: (command line):1: 42"
    } else {
        "leash: 42"
    };
    assert_eq!(first_line(run("error(42)")), number);
    assert_eq!(first_line(run("error('a\\0b', 0)")), "leash: a");
}

#[test]
fn code_that_cannot_be_compiled() {
    let got = execute("x =");
    assert_eq!(got.code, 1);
    assert!(
        got.stderr
            .starts_with("leash: (command line):1: unexpected symbol near "),
        "{}",
        got.stderr
    );
    assert_eq!(got.stderr.lines().count(), 1);
    let folder = Folder::new("garbage");
    for (name, content) in [
        ("text.lua", &b"\x00\x01\x02\xff\xfe"[..]),
        ("code.lua", &b"\x1bLua\xff\xff garbage"[..]),
        ("jit.lua", &b"\x1bLJ\x09"[..]),
    ] {
        let got = outcome(&mut leash([folder.write(name, content)]));
        assert_eq!(
            (got.code, got.stderr.lines().count()),
            (1, 1),
            "{name}: {}",
            got.stderr
        );
    }
    let got = outcome(&mut leash([folder.path()]));
    assert_eq!(
        (got.code, got.stderr.lines().count()),
        (1, 1),
        "{}",
        got.stderr
    );
    assert!(
        got.stderr.starts_with("leash: cannot read "),
        "{}",
        got.stderr
    );
}

#[test]
fn exit_codes() {
    assert_eq!(execute("").code, 0);
    assert_eq!(execute("return 5").code, 0);
    assert_eq!(execute("os.exit(7)").code, 7);
    assert_eq!(execute("os.exit(300)").code, 300 & 0xff);
    assert_eq!(
        execute("coroutine.wrap(function() os.exit(9) end)()").code,
        9
    );
    assert_eq!(execute("pcall(os.exit, 8)").code, 8);
    assert_eq!(execute("os.exit()").code, 0);
    if ENGINE != "lua51" {
        assert_eq!(execute("os.exit(true)").code, 0);
        assert_eq!(execute("os.exit(false)").code, 1);
        let closing = "setmetatable({}, {__gc = function() io.write('closed') end}) ";
        for (call, code) in [
            ("os.exit(true, true)", 0),
            ("os.exit(false, true)", 1),
            ("os.exit(3, true)", 3),
        ] {
            let got = execute(&format!("{closing}{call}"));
            assert_eq!((got.code, &*got.stderr), (code, ""), "{call}");
            assert_eq!(got.stdout, if JIT { "" } else { "closed" }, "{call}");
        }
    }
}

#[test]
fn the_state_is_closed_at_the_end() {
    let code = "local u = newproxy and newproxy(true) or setmetatable({}, {__gc = true})\n\
                getmetatable(u).__gc = function() print('finalized') end\n";
    let got = script(code, &[]);
    assert_eq!(
        (got.code, &*got.stdout, &*got.stderr),
        (0, "finalized\n", "")
    );
    // After an error too.
    let got = script(&format!("{code} keep = u error('no')"), &[]);
    assert_eq!((got.code, &*got.stdout), (1, "finalized\n"));
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
fn warnings() {
    if !HAS_WARNINGS {
        let got = outcome(&mut leash(["-W", "-e", ""]));
        assert_eq!((got.code, got.stderr.lines().count()), (2, 1));
        assert!(
            got.stderr
                .starts_with("leash: -W needs Lua 5.4 or later, and this is Lua"),
            "{}",
            got.stderr
        );
        return;
    }
    let run = |arguments: &[&str]| outcome(&mut leash(arguments)).stderr;
    assert_eq!(run(&["-e", "warn('a')"]), "");
    assert_eq!(run(&["-W", "-e", "warn('a', 'b')"]), "Lua warning: ab\n");
    assert_eq!(
        run(&["-e", "warn('a')", "-W", "-e", "warn('b')"]),
        "Lua warning: b\n"
    );
    assert_eq!(run(&["-W", "-e", "warn('@off') warn('a')"]), "");
    assert_eq!(run(&["-e", "warn('@on') warn('a')"]), "Lua warning: a\n");
}

#[test]
fn the_collector_works_in_the_mode_of_the_standard_interpreter() {
    if HAS_WARNINGS {
        // Asking by setting: the answer is the mode until now.
        assert_eq!(
            execute("print(collectgarbage('incremental'))").stdout,
            "generational\n"
        );
    }
    let got = execute(
        "local n = collectgarbage('count') for i = 1, 1e6 do local t = {} end print(collectgarbage('count') < n + 10000)",
    );
    assert_eq!(got.stdout, "true\n");
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
