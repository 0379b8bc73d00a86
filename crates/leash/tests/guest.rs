//! A state that is guarded from inside: no call of ours is open, the host runs it as it likes.

mod common;
use common::ms;
use leash::{Guest, How, Jit, exists, interrupt, sys};
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

/// A state of a host that knows nothing of Leash; its script has "required" a module that attaches.
struct Host(*mut sys::lua_State);

// SAFETY: used by one thread at a time.
unsafe impl Send for Host {}

static ID: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CALLS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    static MODE: std::cell::Cell<&'static str> = const { std::cell::Cell::new("raise") };
}

unsafe extern "C-unwind" fn on_interrupt(l: *mut sys::lua_State, _: *mut sys::lua_State) {
    CALLS.set(CALLS.get() + 1);
    if MODE.get() == "raise" {
        // SAFETY: in a hook; nothing here owns anything.
        unsafe {
            sys::lua_pushstring(l, c"interrupted!".as_ptr());
            sys::lua_error(l);
        }
    }
}

/// `id([co])`
unsafe extern "C-unwind" fn id(l: *mut sys::lua_State) -> c_int {
    // SAFETY: a C function called by Lua.
    unsafe {
        let guest = Guest::attach(l).unwrap();
        let co = sys::lua_tothread(l, 1);
        let id = guest.id(if co.is_null() { l } else { co });
        sys::lua_pushnumber(l, id.unwrap_or(0) as f64);
    }
    1
}

/// `share(id)`: lets the test see it.
unsafe extern "C-unwind" fn share(l: *mut sys::lua_State) -> c_int {
    // SAFETY: as above.
    ID.store(unsafe { sys::lua_tonumber(l, 1) } as u64, Ordering::SeqCst);
    0
}

unsafe extern "C-unwind" fn calls(l: *mut sys::lua_State) -> c_int {
    // SAFETY: as above.
    unsafe { sys::lua_pushnumber(l, CALLS.get().into()) };
    1
}

impl Host {
    fn new() -> Host {
        // SAFETY: a new state.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            for (name, f) in [
                (c"id", id as sys::lua_CFunction),
                (c"share", share),
                (c"calls", calls),
            ] {
                sys::lua_pushcfunction(l, f);
                sys::lua_setglobal(l, name.as_ptr());
            }
            let guest = Guest::attach(l).unwrap();
            guest.on_interrupt(on_interrupt);
            Host(l)
        }
    }

    /// Runs code as any host does: its first result or its error, as text.
    fn run(&self, code: &str) -> Result<String, String> {
        let code = CString::new(code).unwrap();
        // SAFETY: a live state, used by one thread at a time.
        unsafe {
            let mut status = sys::luaL_loadstring(self.0, code.as_ptr());
            if status == 0 {
                status = sys::lua_pcall(self.0, 0, 1, 0);
            }
            let s = sys::lua_tostring(self.0, -1);
            let text = if s.is_null() {
                String::new()
            } else {
                CStr::from_ptr(s).to_string_lossy().into_owned()
            };
            sys::lua_settop(self.0, -2);
            if status == 0 { Ok(text) } else { Err(text) }
        }
    }

    fn id(&self) -> u64 {
        self.run("return ('%.0f'):format(id())")
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: not used afterwards. The host knows nothing of Leash and just closes.
        unsafe { sys::lua_close(self.0) };
    }
}

#[test]
fn another_thread_interrupts_an_endless_loop() {
    let host = Host::new();
    for _ in 0..20 {
        let id = host.id();
        let t = thread::spawn(move || {
            thread::sleep(ms(3));
            interrupt(id, How::Once)
        });
        let e = host.run("while true do end").unwrap_err();
        assert!(e.contains("interrupted!"), "{e}");
        assert!(t.join().unwrap());
    }
    // Once is once.
    assert_eq!(
        host.run("for i = 1, 1e5 do end return 'ran'").unwrap(),
        "ran"
    );
}

#[test]
fn a_handler_may_let_it_go_on() {
    let host = Host::new();
    MODE.set("go on");
    let id = host.id();
    // Two that come before the first is handled are one, so how many it takes depends on the machine.
    let over = Arc::new(AtomicBool::new(false));
    let (asked, ended) = (AtomicU32::new(0), over.clone());
    let t = thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            thread::sleep(ms(4));
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(interrupt(id, How::Once));
        }
        asked.into_inner()
    });
    let n = host.run("local s = 0 while calls() < 5 do s = s + 1 end return s > 0 and 'went on'");
    over.store(true, Ordering::Relaxed);
    let asked = t.join().unwrap();
    assert_eq!(n.unwrap(), "went on");
    host.run("for i = 1, 1e6 do end").unwrap(); // the last one may still be on its way
    assert!(
        (5..=asked).contains(&CALLS.get()),
        "{} of {asked}",
        CALLS.get()
    );
    let hook = host.run("return tostring(debug.gethook())").unwrap();
    assert_eq!(hook, "nil");
}

#[test]
fn always_lasts_until_no_more() {
    let host = Host::new();
    MODE.set("go on");
    let id = host.id();
    assert!(interrupt(id, How::Always));
    host.run("while calls() < 100 do end").unwrap();
    assert!(interrupt(id, How::NoMore));
    let before = {
        host.run("for i = 1, 1000 do end").unwrap();
        CALLS.get()
    };
    host.run("for i = 1, 1000 do end").unwrap();
    assert_eq!(CALLS.get(), before);
}

#[test]
fn one_coroutine_is_interrupted_and_no_other() {
    let host = Host::new();
    host.run(
        "a = coroutine.create(function() coroutine.yield('a') while true do end end)
         b = coroutine.create(function() while true do coroutine.yield('b') end end)
         coroutine.resume(a) coroutine.resume(b)",
    )
    .unwrap();
    let id: u64 = host
        .run("return ('%.0f'):format(id(a))")
        .unwrap()
        .parse()
        .unwrap();
    // It is suspended: nothing happens to the others, and it meets the interrupt when it is resumed. (LuaJIT: when it runs for a while, for
    // all coroutines share one hook there.)
    assert!(interrupt(id, How::Once));
    let r = host
        .run(
            "for i = 1, 50000 do assert(coroutine.resume(b)) end
             local t = os.clock() while os.clock() - t < 0.3 do assert(coroutine.resume(b)) end
             local ok, e = coroutine.resume(a)
             return tostring(ok) .. ' ' .. tostring(e)",
        )
        .unwrap();
    assert!(r.starts_with("false") && r.contains("interrupted!"), "{r}");
    assert_eq!(
        host.run("return (select(2, coroutine.resume(b)))").unwrap(),
        "b"
    );
}

#[test]
fn an_id_dies_with_its_coroutine_and_its_state() {
    let host = Host::new();
    let main = host.id();
    assert_eq!(host.id(), main, "not stable");
    assert!(exists(main) && main < 1 << 53);
    host.run("co = coroutine.create(function() end)").unwrap();
    let id: u64 = host
        .run("return ('%.0f'):format(id(co))")
        .unwrap()
        .parse()
        .unwrap();
    assert!(exists(id) && id != main);
    host.run("collectgarbage()").unwrap();
    assert!(exists(id));
    host.run("co = nil collectgarbage() collectgarbage()")
        .unwrap();
    assert!(!exists(id) && !interrupt(id, How::Once));
    drop(host);
    assert!(!exists(main) && !interrupt(main, How::Once));
    for wrong in [0, 1, u64::MAX, main ^ 1, main + (1 << 30)] {
        assert!(!interrupt(wrong, How::Once), "{wrong}");
    }
}

#[test]
fn a_state_that_moves_is_followed() {
    let mut host = Host::new();
    let id = host.id();
    for _ in 0..10 {
        host = thread::spawn(move || {
            let host = host;
            let t = thread::spawn(move || {
                thread::sleep(ms(3));
                interrupt(id, How::Once)
            });
            let e = host.run("while true do end").unwrap_err();
            assert!(e.contains("interrupted!"), "{e}");
            assert!(t.join().unwrap());
            host
        })
        .join()
        .unwrap();
    }
}

/// Coroutines are interrupted one by one, on LuaJIT too, where they share one hook: the others go on, and none is interrupted in another's place.
#[test]
fn each_coroutine_gets_its_own_interrupts() {
    let host = Host::new();
    host.run(
        "function new(me)
           return coroutine.create(function()
             while true do
               local count = 0
               for i = 1, 2e5 do count = count + 1 end
               coroutine.yield(me)
             end
           end)
         end
         hits, all = {}, {}
         for i = 1, 5 do all[i] = new(i) end
         function round()
           for i = 1, 5 do
             local ok, e = coroutine.resume(all[i])
             if not ok then
               assert(e == 'interrupted!', e)
               hits[i] = (hits[i] or 0) + 1
               all[i] = new(i)
             else assert(e == i) end
           end
         end
         round()",
    )
    .unwrap();
    for chosen in [3, 1, 5] {
        let id: u64 = host
            .run(&format!("return ('%.0f'):format(id(all[{chosen}]))"))
            .unwrap()
            .parse()
            .unwrap();
        assert!(interrupt(id, How::Once));
        let r = host
            .run(&format!(
                "local n = 0
                 while not hits[{chosen}] do n = n + 1 round() end
                 for i = 1, 20 do round() end
                 local s = '' for i = 1, 5 do s = s .. (hits[i] or 0) end
                 hits = {{}}
                 return s"
            ))
            .unwrap();
        let expected: String = (1..=5)
            .map(|i| if i == chosen { '1' } else { '0' })
            .collect();
        assert_eq!(r, expected);
    }
    // One that has resumed another is interrupted when that has come back.
    let asker = thread::spawn(|| {
        while ID.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        interrupt(ID.load(Ordering::SeqCst), How::Once)
    });
    let r = host
        .run(
            "local inner = coroutine.create(function() for i = 1, 3e7 do end first = 'inner is whole' end)
             local outer = coroutine.create(function()
               share(id())
               coroutine.resume(inner)
               while true do end
             end)
             local ok, e = coroutine.resume(outer)
             return first .. ', ' .. tostring(e)",
        )
        .unwrap();
    assert!(asker.join().unwrap());
    assert_eq!(r, "inner is whole, interrupted!");
}

/// LuaJIT does not tell who runs when the host resumes a coroutine itself, as OpenResty does for each request: the main state is idle then.
#[test]
fn a_coroutine_that_the_host_resumes_is_reached() {
    let host = Host::new();
    // SAFETY: a live state, on this thread.
    unsafe {
        let l = host.0;
        let co = sys::lua_newthread(l);
        assert_eq!(sys::luaL_loadstring(co, c"while true do end".as_ptr()), 0);
        let guest = Guest::attach(co).unwrap();
        let id = guest.id(co).unwrap();
        let asker = thread::spawn(move || {
            thread::sleep(ms(5));
            interrupt(id, How::Once)
        });
        let mut nres = 0;
        let status = sys::lua_resume(co, std::ptr::null_mut(), 0, &mut nres);
        assert_ne!(status, 0);
        let e = CStr::from_ptr(sys::lua_tostring(co, -1)).to_string_lossy();
        assert!(e.contains("interrupted!"), "{e}");
        assert!(asker.join().unwrap());

        // A call with a limit in such a coroutine.
        unsafe extern "C-unwind" fn limited(l: *mut sys::lua_State) -> c_int {
            // SAFETY: a C function called by Lua.
            unsafe {
                let guest = Guest::attach(l).unwrap();
                let limits = leash::Limits::new().timeout(ms(5));
                let stopped = match guest.call(l, 0, 0, 0, &limits) {
                    Ok(_) => 0,
                    Err(stop) => {
                        drop(stop);
                        1
                    }
                };
                sys::lua_pushboolean(l, stopped);
            }
            1
        }
        let co = sys::lua_newthread(l);
        sys::lua_pushcfunction(co, limited);
        assert_eq!(sys::luaL_loadstring(co, c"while true do end".as_ptr()), 0);
        assert_eq!(sys::lua_resume(co, std::ptr::null_mut(), 1, &mut nres), 0);
        assert_eq!(sys::lua_toboolean(co, -1), 1);
        sys::lua_settop(l, 0);
    }
}

/// A module may be loaded inside a coroutine; 5.1 and LuaJIT do not say there which state is the main one.
#[test]
fn a_state_is_attached_from_inside_a_coroutine() {
    unsafe extern "C-unwind" fn attach(l: *mut sys::lua_State) -> c_int {
        // SAFETY: a C function that Lua has called.
        unsafe {
            let guest = Guest::attach(l);
            if cfg!(feature = "luajit") {
                assert_eq!(guest.as_ref().unwrap().jit(), Jit::Guarded);
            }
            let main = guest.map_or(std::ptr::null_mut(), |g| g.main());
            sys::lua_pushlightuserdata(l, main.cast());
        }
        1
    }
    for junk in [
        c"return attach()",
        c"local a = coroutine.wrap(function() return (attach()) end) return a()",
        c"keep = {} for i = 1, 1000 do keep[i] = {coroutine.create(function() end), io.tmpfile, {}, i .. 'x'} end
          local f = io.open('/dev/null') return coroutine.wrap(function() return coroutine.wrap(function() return (attach()) end)() end)()",
        c"pcall(collectgarbage, 'setpause', 50) local function make() local t = newproxy and newproxy(true) or setmetatable({}, {})
            getmetatable(t).__gc = function() local x = {{}, {}} end end
          return coroutine.wrap(function() for i = 1, 500 do make() end return attach() end)()",
    ] {
        // SAFETY: a state of our own, on this thread.
        unsafe {
            let l = sys::luaL_newstate();
            sys::luaL_openlibs(l);
            sys::lua_pushcfunction(l, attach);
            sys::lua_setglobal(l, c"attach".as_ptr());
            assert_eq!(sys::luaL_loadstring(l, junk.as_ptr()), 0);
            if sys::lua_pcall(l, 0, 1, 0) != 0 {
                panic!("{junk:?}: {:?}", CStr::from_ptr(sys::lua_tostring(l, -1)));
            }
            assert_eq!(sys::lua_touserdata(l, -1).cast(), l, "{junk:?}");
            sys::lua_close(l);
        }
    }
}

#[test]
fn an_idle_state_is_interrupted_when_it_runs() {
    let host = Host::new();
    let id = host.id();
    assert!(interrupt(id, How::Once));
    thread::sleep(ms(20));
    let e = host.run("while true do end").unwrap_err();
    assert!(e.contains("interrupted!"), "{e}");
}

/// Threads interrupt whatever ids they know, as fast as they can, while states are made, run, moved and closed.
#[test]
fn a_storm_of_interrupts() {
    static IDS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    static DONE: AtomicBool = AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                let mut i = 0;
                while !DONE.load(Ordering::Relaxed) {
                    i += 1;
                    let id = IDS[i % IDS.len()].load(Ordering::Relaxed);
                    interrupt(id, [How::Once, How::Always, How::NoMore][i % 3]);
                    if i % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut workers = vec![];
        for slot in &IDS {
            workers.push(s.spawn(move || {
                let mut interrupted = 0;
                for round in 0..60 {
                    let host = Host::new();
                    slot.store(host.id(), Ordering::Relaxed);
                    let body = move |host: Host| {
                        let r = host.run(
                            "local s = 0
                             for i = 1, 300 do
                               local co = coroutine.wrap(function(n) for k = 1, n do s = s + k coroutine.yield() end end)
                               co(5) co() co()
                               if i % 50 == 0 then collectgarbage() end
                             end
                             return ('%d'):format(s)",
                        );
                        match r {
                            Ok(sum) => assert_eq!(sum, "1800"),
                            Err(e) => assert!(e.contains("interrupted!"), "{e}"),
                        }
                    };
                    if round % 3 == 0 {
                        thread::spawn(move || body(host)).join().unwrap();
                    } else {
                        body(host);
                    }
                    interrupted += CALLS.take();
                }
                interrupted
            }));
        }
        let calls: u32 = workers.into_iter().map(|w| w.join().unwrap()).sum();
        DONE.store(true, Ordering::Relaxed);
        assert!(calls > 0, "no interrupt has arrived at all");
    });
}
