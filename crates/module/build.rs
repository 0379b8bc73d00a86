//! Keeps the library loaded when the state that loaded it closes.
//!
//! `lua_close` calls `dlclose`. A signal handler, a hook or the timer thread may be in our code at that moment, and other states of
//! the process still use it. `-z nodelete` marks the library itself, whoever loads it and however.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
