//! What the command says: help, usage, errors. The texts are in `tests/cmd`; `TRYCMD=overwrite cargo test` writes them anew.

/// The same on all engines, but for the help of `-l` and the words of Lua itself: so the texts are those of the default engine.
#[test]
#[cfg(feature = "lua54")]
fn texts() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}

/// The other engines, without the exact words.
#[test]
#[cfg(not(feature = "lua54"))]
fn texts() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cmd/usage.trycmd");
}
