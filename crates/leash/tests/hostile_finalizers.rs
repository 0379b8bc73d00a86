//! What a fresh pair of eyes broke with finalizers and coroutines in coroutines, once each: every test here failed before its bug was mended.

#![cfg(feature = "luajit")]

mod common;
use common::{Lua, timeout};
use leash::Reason;

/// Each `coroutine.wrap` put its place in front of the message of the stop: 4000 texts, of up to 100 KB, that nobody collected.
#[test]
fn a_stop_passes_through_a_chain_of_coroutines_without_growing() {
    for limits in [timeout(100), timeout(100).instructions(1 << 40)] {
        for call in ["f()", "string.gsub('x', 'x', f)", "gc(f) collectgarbage()"] {
            let lua = Lua::new();
            let code = format!(
                "local depth = 0
                 local function gc(f) getmetatable(newproxy(true)).__gc = f end
                 local function f()
                   depth = depth + 1
                   if depth == 4000 then while true do end end
                   coroutine.wrap(f)()
                 end
                 {call}
                 while true do end"
            );
            let stop = lua.run(&code, &limits).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout);
            assert!(stop.memory < 30 << 20, "{call}: {} bytes", stop.memory);
            lua.assert_healthy();
        }
    }
}

/// Each was asked for by itself, and waited for; and what it did meanwhile was a collection of all the others. Forty seconds. (LuaJIT does not limit how deep
/// collections in finalizers are nested, with or without Leash: hence the stack.)
#[test]
fn thousands_of_finalizers_that_collect() {
    let code = "local function gc(f) getmetatable(newproxy(true)).__gc = f end
        local function f() while true do gc(f) collectgarbage() end end
        for i = 1, 20000 do gc(f) end
        while true do end";
    let run = move || {
        let lua = Lua::new();
        let stop = lua.run(code, &timeout(30)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
        let began = std::time::Instant::now();
        lua.close(&timeout(100));
        began.elapsed()
    };
    let thread = std::thread::Builder::new().stack_size(1 << 30);
    let took = thread.spawn(run).unwrap().join().unwrap();
    assert!(took.as_secs() < 30, "{took:?}");
}
