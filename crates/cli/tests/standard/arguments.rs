//! What comes from outside: the script's arguments, the options in their order, the variables of the environment.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::{ENGINE, Folder, LEASH, execute, leash, outcome};
use crate::{HAS_WARNINGS, OLD, script};

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
