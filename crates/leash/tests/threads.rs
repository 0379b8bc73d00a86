//! Stopping from elsewhere: other threads, and many states. (Forks are in forks.rs.)

mod common;
use common::{Lua, ms, timeout};
use leash::{Guest, Handle, How, Limits, Reason, interrupt, sys};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_handle_stops_a_call_from_another_thread() {
    for kill in [false, true] {
        let lua = Lua::new();
        let handle = lua.vm().handle();
        let t = thread::spawn(move || {
            thread::sleep(ms(30));
            if kill {
                handle.kill()
            } else {
                handle.interrupt()
            }
        });
        let stop = lua
            .run(
                "while true do pcall(function() while true do end end) end",
                &Limits::new(),
            )
            .unwrap_err();
        assert_eq!(
            stop.reason,
            if kill {
                Reason::Kill
            } else {
                Reason::Interrupt
            }
        );
        assert!(
            t.join().unwrap(),
            "the handle says that nothing was running"
        );
        assert!(stop.traceback.contains("test:1:"), "{}", stop.traceback);
        lua.assert_healthy();
    }
}

#[test]
fn a_handle_to_an_idle_or_closed_state_says_so() {
    let lua = Lua::new();
    let handle = lua.vm().handle();
    assert!(!handle.interrupt());
    lua.assert_healthy();
    drop(lua);
    assert!(!handle.kill());
    // The record serves another state now; the old handle must not reach it.
    let lua = Lua::new();
    let other = lua.vm().handle();
    let t = thread::spawn(move || {
        thread::sleep(ms(20));
        (handle.kill(), other.interrupt())
    });
    let stop = lua.run("while true do end", &Limits::new()).unwrap_err();
    assert_eq!(stop.reason, Reason::Interrupt);
    assert_eq!(t.join().unwrap(), (false, true));
}

#[test]
fn an_interrupt_stops_the_outermost_call() {
    let lua = Lua::new();
    let handle = lua.vm().handle();
    let stop = thread::scope(|s| {
        s.spawn(|| {
            thread::sleep(ms(20));
            handle.interrupt()
        });
        lua.run("while true do end", &timeout(20_000)).unwrap_err()
    });
    assert_eq!((stop.reason, stop.enclosing), (Reason::Interrupt, false));
}

/// States on several threads, stopped by deadlines and by each other, at the same time.
#[test]
fn many_states_on_many_threads() {
    let threads = 4;
    let rounds = 60;
    let stops = AtomicUsize::new(0);
    thread::scope(|s| {
        for t in 0..threads {
            let stops = &stops;
            s.spawn(move || {
                let states: Vec<Lua> = (0..5).map(|_| Lua::new()).collect();
                for round in 0..rounds {
                    let lua = &states[round % states.len()];
                    let r = lua.run(
                        "local function f() while true do end end while true do coroutine.wrap(function() pcall(f) end)() end",
                        &timeout(1 + (round as u64 + t) % 4),
                    );
                    assert_eq!(r.unwrap_err().reason, Reason::Timeout);
                    stops.fetch_add(1, Ordering::Relaxed);
                    let sum = lua.ok("local s = 0 for i = 1, 1000 do s = s + i end return s");
                    assert_eq!(sum, "500500");
                }
            });
        }
    });
    assert_eq!(stops.into_inner(), threads as usize * rounds);
}

/// Other threads ask for a stop as often as they can, while states come and go.
#[test]
fn interrupts_against_open_and_close() {
    let done = Arc::new(AtomicBool::new(false));
    let (send, receive) = mpsc::channel::<Handle>();
    let askers = thread::spawn({
        let done = done.clone();
        move || {
            let mut handles = vec![];
            let mut asked = 0u64;
            while !done.load(Ordering::Relaxed) {
                handles.extend(receive.try_iter());
                for h in handles.iter().rev().take(4) {
                    asked += u64::from(h.interrupt());
                }
            }
            asked
        }
    });
    let mut stops = 0;
    for i in 0..400 {
        let lua = Lua::new();
        send.send(lua.vm().handle()).unwrap();
        let r = lua.run(
            "local t = {} for i = 1, 2000 do t[i] = coroutine.wrap(function() coroutine.yield(i) end) t[i]() end return #t",
            &Limits::new(),
        );
        match r {
            Ok(Ok(n)) => assert_eq!(n, "2000", "round {i}"),
            Ok(Err(e)) => panic!("round {i}: {e}"),
            Err(stop) => {
                assert_eq!(stop.reason, Reason::Interrupt);
                stops += 1;
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    let asked = askers.join().unwrap();
    assert!(
        stops > 0 && asked >= stops,
        "{stops} stops of {asked} asked"
    );
}

unsafe extern "C-unwind" fn go_on(_: *mut sys::lua_State, _: *mut sys::lua_State) {}

/// The hook that answers an interrupt has looked at the limits before: a deadline that passes in between was answered with it.
#[test]
fn a_deadline_is_not_lost_among_interrupts() {
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    let id = unsafe {
        let guest = Guest::attach(lua.l).unwrap();
        guest.on_interrupt(go_on);
        guest.id(lua.l).unwrap()
    };
    let (handle, round, done) = (
        lua.vm().handle(),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                interrupt(id, How::Once);
            }
        });
        // A deadline that is lost is noticed by this thread.
        s.spawn(|| {
            let (mut seen, mut since) = (0, Instant::now());
            while !done.load(Ordering::Relaxed) {
                thread::sleep(ms(50));
                let now = round.load(Ordering::Relaxed);
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > ms(10_000) {
                    handle.kill();
                }
            }
        });
        let start = Instant::now();
        let mut reason = Reason::Timeout;
        while start.elapsed() < ms(3000) && reason == Reason::Timeout {
            let limit =
                Duration::from_micros(20 + round.fetch_add(1, Ordering::Relaxed) as u64 % 50);
            let stop = lua.run("while true do end", &Limits::new().timeout(limit));
            reason = stop.unwrap_err().reason;
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(
            reason,
            Reason::Timeout,
            "a deadline was lost in round {round:?}"
        );
    });
}

#[test]
fn a_thread_that_blocks_all_signals_can_be_stopped() {
    thread::spawn(|| {
        // SAFETY: plain libc calls on this thread's own mask.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        let lua = Lua::new();
        let stop = lua.run("while true do end", &timeout(20)).unwrap_err();
        assert_eq!(stop.reason, Reason::Timeout);
    })
    .join()
    .unwrap();
}

#[test]
fn a_state_may_move_to_another_thread_between_calls() {
    struct Moved(Lua);
    // SAFETY: the state is used by one thread at a time, and handed over by `spawn` and `join`.
    unsafe impl Send for Moved {}
    let mut lua = Moved(Lua::new());
    for _ in 0..5 {
        lua = thread::spawn(move || {
            let lua = lua;
            let stop = lua.0.run("while true do end", &timeout(10)).unwrap_err();
            assert_eq!(stop.reason, Reason::Timeout);
            lua
        })
        .join()
        .unwrap();
    }
    lua.0.assert_healthy();
}

#[test]
fn a_stop_that_is_not_answered_is_told() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C-unwind" fn deaf(_: *mut sys::lua_State) -> std::ffi::c_int {
        // A C function that computes: no hook reaches it.
        while TOLD.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
        0
    }
    let lua = Lua::new();
    // SAFETY: a live state on its thread.
    unsafe {
        sys::lua_pushcfunction(lua.l, deaf);
        sys::lua_setglobal(lua.l, c"deaf".as_ptr());
    }
    lua.vm().on_stuck(ms(50), |reason, elapsed| {
        assert_eq!(reason, Reason::Timeout);
        assert!(elapsed >= ms(70));
        TOLD.fetch_add(1, Ordering::Relaxed);
    });
    let stop = lua
        .run("deaf() while true do end", &timeout(20))
        .unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    assert!(stop.elapsed >= ms(70));
    assert_eq!(TOLD.load(Ordering::Relaxed), 1);
}
