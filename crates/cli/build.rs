//! Makes the binary export the Lua API to the C modules that a script may `require`.
//!
//! Modules are linked against no Lua; they expect the program that loads them to have the functions. So each function of
//! the public API is asked for twice: `-u` takes it out of the library although nothing here calls it, and
//! `--export-dynamic-symbol` puts it into the dynamic symbol table. (`--export-dynamic` would put in all of Rust as well.)
//!
//! The lists in `exports/` are made from the headers, and `tests/exports.rs` keeps them so.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=exports");
    let engines = ["lua51", "lua52", "lua53", "lua54", "lua55", "luajit"];
    let chosen: Vec<&str> = engines
        .into_iter()
        .filter(|engine| env::var_os(format!("CARGO_FEATURE_{}", engine.to_uppercase())).is_some())
        .collect();
    let [engine] = chosen[..] else {
        println!(
            "cargo::error=choose exactly one engine, by a feature: {} (now: {chosen:?})",
            engines.join(" ")
        );
        return;
    };
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let list = Path::new(&root)
        .join("exports")
        .join(engine)
        .with_extension("txt");
    let symbols = fs::read_to_string(&list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let apple = env::var("CARGO_CFG_TARGET_VENDOR").is_ok_and(|vendor| vendor == "apple");
    for symbol in symbols.lines() {
        if apple {
            println!("cargo::rustc-link-arg-bins=-Wl,-u,_{symbol}");
            println!("cargo::rustc-link-arg-bins=-Wl,-exported_symbol,_{symbol}");
        } else {
            println!("cargo::rustc-link-arg-bins=-Wl,-u,{symbol}");
            println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
        }
    }
    if apple {
        // With a list, everything else is hidden: the entry point too.
        println!("cargo::rustc-link-arg-bins=-Wl,-exported_symbol,_main");
    }
}
