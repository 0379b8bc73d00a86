//! `leash run` is a standard `lua`: [arguments] and environment, standard [streams], errors and exit codes ([ends]); and here the rest.

mod arguments;
mod ends;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use support::{Folder, execute, leash, outcome};

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
