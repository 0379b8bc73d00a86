//! Forks: limits hold in the child. One test at a time: LuaJIT enters machine code with libgcc, whose lock a child inherits as it is, so that a thread that compiles while another forks may leave a child
//! that waits for ever when it compiles. That is so without Leash (`__register_frame_info`, `lj_err_register_mcode`).

mod common;
use common::{Lua, ms, timeout};
use leash::{Guest, Limits, Reason, sys};
use std::ffi::CStr;
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// While it is held no other test of these runs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|failed| failed.into_inner())
}

#[test]
fn limits_hold_in_a_forked_child() {
    let _alone = alone();
    let lua = Lua::new();
    lua.run("while true do end", &timeout(5)).unwrap_err();
    // SAFETY: the child uses its copy of the state on its only thread and leaves by `_exit`.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(20); // a child that hangs dies by it
            let first = lua.run("while true do end", &timeout(20));
            let second = Lua::new().run("while true do end", &timeout(20));
            let fine = [first, second]
                .into_iter()
                .all(|r| r.is_err_and(|s| s.reason == Reason::Timeout));
            libc::_exit(if fine { 0 } else { 1 });
        }
        assert_exits_with_zero(pid);
    }
    lua.run("while true do end", &timeout(5)).unwrap_err();
}

unsafe extern "C-unwind" fn fork(l: *mut sys::lua_State) -> std::ffi::c_int {
    // SAFETY: as above.
    unsafe {
        sys::lua_pushinteger(l, libc::fork() as _);
    }
    1
}

/// Code that forks and is endless then ends by this limit, in the child and in the parent. `is_fine` is asked in the child.
fn ends_on_both_sides(limits: &Limits, reason: Reason, is_fine: impl FnOnce() -> bool) {
    let lua = Lua::new();
    // SAFETY: as above.
    unsafe {
        sys::lua_pushcfunction(lua.l, fork);
        sys::lua_setglobal(lua.l, c"fork".as_ptr());
    }
    let parent = std::process::id();
    let r = lua.run("pid = fork() while true do end", limits);
    let fine = r.is_err_and(|s| s.reason == reason);
    if std::process::id() != parent {
        let fine = fine && is_fine();
        // SAFETY: the child.
        unsafe { libc::_exit(if fine { 0 } else { 1 }) };
    }
    assert!(fine);
    let pid = lua.ok("return pid").parse::<f64>().unwrap() as libc::pid_t;
    // SAFETY: our child.
    unsafe { assert_exits_with_zero(pid) };
}

#[test]
fn a_limit_goes_on_in_a_child_that_forks_in_the_middle() {
    let _alone = alone();
    // Under a sanitizer a fork takes a while.
    ends_on_both_sides(&timeout(500), Reason::Timeout, || true);
}

fn cpu_of_process() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is filled.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// The system begins to count a thread's CPU time anew in the child: a limit was missed by all that the parent's thread had used before it.
#[test]
fn a_limit_of_cpu_time_goes_on_in_a_child_that_forks_in_the_middle() {
    let _alone = alone();
    let start = cpu_of_process();
    while cpu_of_process() - start < ms(600) {
        std::hint::spin_loop();
    }
    let limits = Limits::new().cpu(ms(200));
    ends_on_both_sides(&limits, Reason::Cpu, || cpu_of_process() < ms(500));
}

/// In the child of a fork a new thread gets the control block of one that has vanished. It is not taken for that: what it runs has its own owner.
#[test]
fn a_state_of_a_vanished_thread_comes_to_a_new_one() {
    let _alone = alone();
    // SAFETY: a new state.
    let state = unsafe { sys::luaL_newstate() } as usize;
    let run = move |code: &CStr| {
        let l = state as *mut sys::lua_State;
        // SAFETY: a live state; one thread uses it at a time.
        unsafe {
            let guest = Guest::attach(l).unwrap();
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            guest.call(l, 0, 0, 0, &timeout(50))
        }
    };
    let (ran, forked) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|s| {
        s.spawn(|| {
            run(c"local x = {}").unwrap();
            ran.wait();
            forked.wait();
        });
        ran.wait();
        // SAFETY: as above.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe { libc::alarm(20) };
            let stopped = thread::spawn(move || {
                let stop = run(c"while true do end");
                stop.is_err_and(|s| s.reason == Reason::Timeout)
            });
            let fine = stopped.join().unwrap_or(false);
            // SAFETY: the child.
            unsafe { libc::_exit(if fine { 0 } else { 1 }) };
        }
        forked.wait();
        // SAFETY: our child.
        unsafe { assert_exits_with_zero(pid) };
    });
    // SAFETY: nobody uses it any more.
    unsafe { sys::lua_close(state as *mut sys::lua_State) };
}

/// # Safety
/// `pid` is a child of this process that nobody else waits for.
unsafe fn assert_exits_with_zero(pid: libc::pid_t) {
    let mut status = 0;
    for _ in 0..3000 {
        // SAFETY: by the caller.
        if unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } == pid {
            assert_eq!(status, 0, "the child's wait status");
            return;
        }
        thread::sleep(ms(10));
    }
    // SAFETY: by the caller.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    panic!("the child did not end");
}
