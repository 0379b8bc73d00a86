//! How a run ends: error messages with their tracebacks, exit codes, the state that is closed.

use crate::support::{ENGINE, Folder, execute, leash, outcome};
use crate::{JIT, OLD, script};

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
