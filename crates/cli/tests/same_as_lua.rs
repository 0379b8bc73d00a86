//! The same scripts, by `leash run` and by the standard interpreter of the same version: the same output, the same messages
//! but for the program's name, the same exit code.
//!
//! Needs the interpreter (`lua5.4` and so on, as Debian names them); without it there is nothing to compare with, and the
//! other tests say what they expect themselves.

mod support;

use std::process::Command;

use support::{ENGINE, Folder, Outcome, command, leash, outcome};

/// The standard interpreter of this engine's version, if it is installed.
fn standard() -> Option<&'static str> {
    let name = match ENGINE {
        "lua51" => "lua5.1",
        "lua52" => "lua5.2",
        "lua53" => "lua5.3",
        "lua54" => "lua5.4",
        "lua55" => "lua5.5",
        _ => "luajit",
    };
    command(name).arg("-v").output().is_ok().then_some(name)
}

/// Small programs, each about one way to end or to speak. The releases differ in the words of some tracebacks, so few of
/// them have functions with names.
const SCRIPTS: &[&str] = &[
    "print(1, 'a', nil, true)",
    "io.write('no newline')",
    "print(select('#', ...), ...)",
    "for i = 0, 2 do print(arg[i]) end",
    "print(#arg, arg[#arg])",
    "return 1, 2, 3",
    "error('message')",
    "error('message', 0)",
    "error('message', 2)",
    "error()",
    "error(nil)",
    "error({})",
    "error(12)",
    "error(true)",
    "error(print)",
    "error(setmetatable({}, {__tostring = function() return 'object' end}))",
    "error(setmetatable({}, {__tostring = function() return 12 end}))",
    "error(setmetatable({}, {__tostring = function() error('in the handler') end}))",
    "error(setmetatable({}, {__tostring = 1}))",
    "local x = nil; x()",
    "local x = nil + 1",
    "x = = 1",
    "x = 'unfinished",
    "for",
    "goto nowhere",
    "assert(false)",
    "assert(false, 'text')",
    "assert(nil, nil)",
    "print(pcall(error, 'caught'))",
    "debug.traceback = nil; error('without')",
    "debug = nil; error('without')",
    "print(debug.traceback('here'))",
    "print((debug.traceback('here', 2)))",
    "coroutine.wrap(function() error('inside') end)()",
    "local co = coroutine.create(function() error('inside') end) print(coroutine.resume(co))",
    "os.exit(0)",
    "os.exit(5)",
    "os.exit(255)",
    "print('before') os.exit(1)",
    "io.stderr:write('to stderr\\n') os.exit(2)",
    "require 'nowhere.to.be.found'",
    "print(...) print(... == nil)",
    "string.rep()",
    "('x'):bad()",
    "setmetatable(_G, {__index = function(_, k) error('no global ' .. k, 2) end}) print(pcall(function() return undefined end))",
    "tostring = nil; print(pcall(print, 1))",
    "local t = setmetatable({}, {__gc = function() print('gc') end}) t = nil collectgarbage()",
    "X = setmetatable({}, {__gc = function() print('at the end') end})",
    "X = setmetatable({}, {__gc = function() print('at the end') end}) error('no')",
    "X = setmetatable({}, {__gc = function() error('in the end') end}) print('body')",
    "print(collectgarbage('count') > 0)",
    "io.stdout:setvbuf('full') io.write('buffered') io.stderr:write('direct')",
    "print(io.read())",
    "io.stdout:close()",
    "local function deep(n) if n == 0 then error('deep') end return (deep(n - 1)) end deep(30)",
    "local function f() return f() + 1 end print((select(2, pcall(f))):match('stack overflow'))",
    "#!/usr/bin/lua\nprint('after the first line') error('second')",
    "\u{feff}print('after a byte order mark')",
    "print(_VERSION)",
    "print(os.getenv('HOME') ~= nil, os.getenv('LEASH_NO_SUCH_VARIABLE'))",
    "print(os.setlocale())",
    "print(os.execute and type(os.execute('exit 3')))",
    "local p = io.popen('echo from a child; exit 4') print(p:read('*a')) print(p:close())",
    "if warn then warn('@on') warn('a ', 'warning') end",
    "print(package.config)",
    "print(math.maxinteger, 10 / 2, 3 % -2, 2^53)",
    "print(#string.format('%5.2f', 1.005))",
];

/// Options of both programs.
const COMMAND_LINES: &[&[&str]] = &[
    &["x.lua", "a", "b c", "--help", "-", ""],
    &["-e", "x = 1", "x.lua"],
    &["-e", "print(x)", "-e", "error('e')", "x.lua"],
    &["-l", "string", "x.lua"],
    &["-l", "nowhere", "x.lua"],
    &["-"],
    &["--", "x.lua"],
    &["-e", "print(arg == nil)"],
    &["-e", "x ="],
    &["-e", ""],
    &["-e", "arg = nil", "x.lua", "a"],
    &["-e", "if arg then arg[1] = 'changed' end", "x.lua", "a"],
    &["nowhere.lua"],
    &["/"],
];

/// Messages without what is allowed to differ: the program's name, addresses, the folders of the installation.
fn comparable(mut outcome: Outcome, program: &str) -> Outcome {
    let name = format!("{program}: ");
    let line = |line: &str| -> Option<String> {
        // Debian's interpreters look for modules in more places.
        if line.starts_with("\tno f") {
            return None;
        }
        let line = line.strip_prefix(&name).unwrap_or(line);
        let mut parts = line.split("0x");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text += "0x";
            text += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        }
        // A function may be found by its name in `_G` first or in the list of modules: tables have no order.
        Some(text.replace("'_G.", "'"))
    };
    for text in [&mut outcome.stdout, &mut outcome.stderr] {
        *text = text.lines().filter_map(line).collect::<Vec<_>>().join("\n");
    }
    outcome
}

/// Runs both in the same folder and compares.
fn compare(program: &str, folder: &Folder, arguments: &[&str], what: &str) {
    let run = |command: &mut Command, name: &str| {
        comparable(
            outcome(command.args(arguments).current_dir(folder.path())),
            name,
        )
    };
    let expected = run(&mut command(program), program);
    let got = run(&mut leash([""; 0]), "leash");
    assert_eq!(got, expected, "{what} (first leash, then {program})");
}

#[test]
fn scripts() {
    let Some(program) = standard() else { return };
    let folder = Folder::new("same");
    for code in SCRIPTS {
        if differs(code) {
            continue;
        }
        folder.write("x.lua", code);
        compare(program, &folder, &["x.lua", "first", "second"], code);
        // Without a script, `arg` begins with the program: there is a 'run' more in ours.
        if !code.contains("arg[") {
            compare(program, &folder, &["-e", code], code);
        }
    }
}

/// Where the release that is built in is known to differ from the one that Debian has, with both right.
fn differs(code: &str) -> bool {
    match ENGINE {
        // 5.4.7 says "(error message not a string)" where 5.4.4 passes a null pointer to printf.
        "lua54" => code.contains("error('in the handler')"),
        _ => false,
    }
}

#[test]
fn command_lines() {
    let Some(program) = standard() else { return };
    let folder = Folder::new("same-lines");
    folder.write("x.lua", "print(x, ...) print(arg[1], arg[2])");
    for line in COMMAND_LINES {
        compare(program, &folder, line, &line.join(" "));
    }
}
