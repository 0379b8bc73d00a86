//! C modules find the whole Lua API in the binary.
//!
//! 1. The lists in `exports/` are what the headers declare, for each engine. (`LEASH_UPDATE=1 cargo test` writes them anew.)
//! 2. The binary exports each function of its engine's list.
//! 3. A module made by the C compiler can be required and works.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use support::{ENGINE, Folder, LEASH, headers, leash, outcome, package_folder};

/// The names that a preprocessed header declares as external: `extern int (lua_gettop) (lua_State *L);`.
fn declared(preprocessed: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in preprocessed.split([';', '{', '}']) {
        let Some((_, declaration)) = statement.split_once("extern ") else {
            continue;
        };
        // The name is in parentheses, so that no macro of the same name gets in the way, or before a `(` or a `[`.
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let Some((before, after)) = declaration.split_once(['(', '[']) else {
            continue; // a variable of the C library
        };
        let name = match after.split_once(')') {
            Some((name, _)) if before.ends_with([' ', '*']) && name.chars().all(word) => name,
            _ => before.rsplit(|c| !word(c)).next().unwrap_or_default(),
        };
        if name.starts_with("lua") {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The names of an engine's API, by the C preprocessor from its headers, with the settings that its crate builds it with.
fn api(engine: &str) -> BTreeSet<String> {
    let folder = Folder::new(&format!("api-{engine}"));
    let mut source = "#include <lua.h>\n#include <lauxlib.h>\n#include <lualib.h>\n".to_owned();
    let mut flags = vec!["-DLUA_USE_LINUX", "-D__attribute__(x)="];
    match engine {
        "luajit" => {
            folder.write("luajit.h", luajit_header());
            source.push_str("#include \"luajit.h\"\n");
        }
        "lua54" => flags.push("-DLUA_COMPAT_5_3"),
        _ => {}
    }
    let file = folder.write("api.c", source);
    let output = Command::new("cc")
        .args(["-E", "-P", "-I"])
        .arg(headers(engine))
        .args(flags)
        .arg(file)
        .output()
        .expect("cc starts");
    assert!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    declared(&String::from_utf8_lossy(&output.stdout))
}

/// `luajit.h`, as LuaJIT's build makes it: the release goes into the template, also into the name of one function.
fn luajit_header() -> String {
    let root = package_folder("luajit-src");
    let template =
        fs::read_to_string(root.join("luajit2/src/luajit_rolling.h")).expect("there is a template");
    let release =
        fs::read_to_string(root.join("luajit_relver.txt")).expect("the release is in a file");
    template
        .lines()
        .filter(|line| !line.starts_with("#error"))
        .map(|line| line.replace("ROLLING", release.trim()) + "\n")
        .collect()
}

#[test]
fn the_lists_are_what_the_headers_declare() {
    for engine in ["lua51", "lua52", "lua53", "lua54", "lua55", "luajit"] {
        let names = api(engine);
        assert!(names.len() > 100, "{engine}: only {} names", names.len());
        for name in ["lua_pcall", "lua_pcallk", "luaL_loadfile", "luaL_loadfilex"] {
            let expected = match engine {
                "lua51" => !name.ends_with(['k', 'x']),
                "luajit" => name != "lua_pcallk",
                _ => name.ends_with(['k', 'x']),
            };
            assert_eq!(names.contains(name), expected, "{engine}: {name}");
        }
        let expected: String = names.iter().map(|name| format!("{name}\n")).collect();
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("exports")
            .join(engine)
            .with_extension("txt");
        if env::var_os("LEASH_UPDATE").is_some() {
            fs::write(&file, &expected).expect("the list can be written");
        }
        let list = fs::read_to_string(&file).expect("there is a list");
        assert_eq!(
            list,
            expected,
            "{} is not what the headers say; LEASH_UPDATE=1 writes it anew",
            file.display()
        );
    }
}

#[test]
fn the_binary_exports_the_whole_list() {
    let list = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("exports")
            .join(ENGINE)
            .with_extension("txt"),
    )
    .expect("there is a list");
    let output = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=posix", LEASH])
        .output()
        .expect("nm starts");
    assert!(
        output.status.success(),
        "nm: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let symbols = String::from_utf8(output.stdout).expect("symbols are ASCII");
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .collect();
    let missing: Vec<&str> = list
        .lines()
        .filter(|name| !exported.contains(name))
        .collect();
    assert_eq!(missing, [""; 0]);
    // And not the whole of Rust, which would be some thousand names more.
    assert!(
        exported.len() < list.lines().count() + 100,
        "{} names are exported",
        exported.len()
    );
}

const MODULE: &str = r#"
#include <lua.h>
#include <lauxlib.h>

#if LUA_VERSION_NUM >= 504
#define new_counter(L) lua_newuserdatauv(L, sizeof(int), 1)
#else
#define new_counter(L) lua_newuserdata(L, sizeof(int))
#endif

static int next(lua_State *L) {
  int *n = luaL_checkudata(L, 1, "counter");
  lua_pushinteger(L, ++*n);
  return 1;
}

static int repeat(lua_State *L) {
  luaL_Buffer b;
  int i, n = (int)luaL_checkinteger(L, 2);
  luaL_argcheck(L, n > 0, 2, "must be positive");
  luaL_buffinit(L, &b);
  for (i = 0; i < n; i++) luaL_addstring(&b, luaL_checkstring(L, 1));
  luaL_pushresult(&b);
  return 1;
}

static const luaL_Reg functions[] = {{"next", next}, {"repeat", repeat}, {NULL, NULL}};

int luaopen_counter(lua_State *L) {
  int *n;
#if LUA_VERSION_NUM >= 502
  luaL_newlib(L, functions);
#else
  luaL_register(L, "counter", functions);
#endif
  n = new_counter(L);
  *n = (int)luaL_optinteger(L, 10, 41);
  luaL_newmetatable(L, "counter");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "it");
  return 1;
}
"#;

#[test]
fn a_c_module_can_be_required() {
    let folder = Folder::new("c-module");
    let source = folder.write("counter.c", MODULE);
    let library = folder.path().join("counter.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-I"])
        .arg(headers(ENGINE))
        .arg("-o")
        .arg(&library)
        .arg(source);
    if cfg!(target_os = "macos") {
        cc.args(["-undefined", "dynamic_lookup"]);
    }
    let output = cc.output().expect("cc starts");
    assert!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );

    let script = folder.write(
        "use.lua",
        "local counter = require 'counter'\n\
         print(counter.next(counter.it), counter['repeat']('ab', 3))\n\
         print(pcall(counter['repeat'], 'x', 0))\n",
    );
    let cpath = format!("{}/?.so", folder.path().display());
    let got = outcome(leash([script]).env("LUA_CPATH", cpath));
    assert_eq!(got.stderr, "");
    let name = if cfg!(any(
        feature = "lua51",
        feature = "lua52",
        feature = "luajit"
    )) {
        "?"
    } else {
        "counter.repeat"
    };
    assert_eq!(
        got.stdout,
        format!("42\tababab\nfalse\tbad argument #2 to '{name}' (must be positive)\n")
    );
    assert_eq!(got.code, 0);
}
