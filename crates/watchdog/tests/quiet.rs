//! What the timer does not do: wake up for nothing, make system calls on the armer's side, run the host's handlers.
//!
//! The tests here look at the one timer thread of the process, so they run one at a time.

mod common;

use common::{
    alarm, child_status, counting, in_child, ms, read, status, timer_thread, wait_until, within,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};
use watchdog::{Alarm, Ticks};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

const HOUR: Duration = Duration::from_secs(3600);

fn idle() -> Alarm {
    alarm(|_| Ticks::NEVER)
}

/// How often the thread has gone to sleep or was interrupted.
fn switches(thread: &Path) -> (String, String) {
    (
        status(thread, "voluntary_ctxt_switches"),
        status(thread, "nonvoluntary_ctxt_switches"),
    )
}

/// Waits until the timer thread sleeps, and has done so for a while.
fn settle(thread: &Path) {
    let mut last = switches(thread);
    wait_until("the timer thread comes to rest", || {
        thread::sleep(ms(20));
        std::mem::replace(&mut last, switches(thread)) == last
            && status(thread, "State").starts_with('S')
    });
}

#[test]
fn no_wake_ups_when_idle() {
    let _alone = alone();
    let a = idle();
    let timer = timer_thread();
    settle(&timer);
    let before = switches(&timer);
    thread::sleep(ms(300));
    assert_eq!(switches(&timer), before, "nothing armed");

    a.arm(within(HOUR));
    settle(&timer);
    let before = switches(&timer);
    let others: Vec<Alarm> = (0..100).map(|_| idle()).collect();
    for other in &others {
        for i in 1..100 {
            other.arm(within(HOUR * (1 + i)));
        }
        other.disarm();
    }
    drop(others);
    thread::sleep(ms(300));
    assert_eq!(
        switches(&timer),
        before,
        "an hour ahead, and later ones armed and disarmed"
    );

    // The measure works.
    a.arm(within(ms(1)));
    wait_until("a wake-up shows", || switches(&timer) != before);
}

#[test]
fn the_thread_is_as_promised() {
    let _alone = alone();
    let _a = idle();
    let timer = timer_thread();
    let blocked = u64::from_str_radix(&status(&timer, "SigBlk"), 16).unwrap();
    let has = |signal: i32| blocked & (1 << (signal - 1)) != 0;
    for signal in [
        libc::SIGURG,
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGPROF,
        libc::SIGALRM,
        libc::SIGUSR1,
    ] {
        assert!(has(signal), "{signal} is blocked");
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT] {
        assert!(!has(signal), "{signal} is not blocked");
    }
    let tid = timer.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        read(&Path::new("/proc").join(tid), "timerslack_ns").trim(),
        "1"
    );
    assert_eq!(common::timer_threads().len(), 1);
}

/// A thread that arms in a loop, always for later, must not keep the timer busy.
#[test]
fn an_arming_loop_does_not_keep_the_timer_busy() {
    let _alone = alone();
    let many: Vec<Alarm> = (0..10_000).map(|_| idle()).collect();
    for a in &many {
        a.arm(within(HOUR));
    }
    let timer = timer_thread();
    let cpu = || -> u64 {
        read(&timer, "schedstat")
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let (a, calls) = counting();
    let (start, cpu_before) = (Instant::now(), cpu());
    while start.elapsed() < ms(400) {
        for _ in 0..100 {
            a.arm(within(ms(5)));
        }
    }
    let (wall, used) = (start.elapsed().as_nanos() as u64, cpu() - cpu_before);
    assert!(used < wall / 5, "the timer thread used {used} of {wall} ns");
    wait_until("the last deadline", || calls.load(SeqCst) > 0);
}

/// From here on, any system call of this thread but `exit_group` ends the process with SIGSYS.
fn forbid_system_calls() {
    let insn = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        // The number of the system call is at offset 0.
        insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        insn(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_exit_group as u32,
        ),
        insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        insn(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program is valid and is copied by the kernel.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            0
        );
    }
}

/// In a child whose timer sleeps for an hour, and in which the next system call of this thread is the last: arms for `at`,
/// then ends with status 0.
fn armed_without_system_calls(wait: Duration) -> i32 {
    child_status(|| {
        let (a, b) = (idle(), idle());
        a.arm(within(HOUR));
        settle(&timer_thread());
        let (start, at) = (Ticks::now(), within(wait));
        forbid_system_calls();
        for i in 0..1000 {
            b.arm(at.after(Duration::from_nanos(i)));
            b.disarm();
            b.arm(start.after(HOUR * 3));
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    })
}

#[test]
fn arming_for_later_makes_no_system_call() {
    let _alone = alone();
    assert_eq!(armed_without_system_calls(HOUR * 2), 0);
    // The measure works: an earlier deadline takes a system call, and the filter sees it.
    let status = armed_without_system_calls(ms(1));
    assert!(libc::WIFSIGNALED(status), "{status:#x}");
    assert_eq!(libc::WTERMSIG(status), libc::SIGSYS);
}

/// The timer is awake, in a call: whoever arms then leaves a word, and makes no system call.
#[test]
fn arming_while_the_timer_is_awake_makes_no_system_call() {
    let _alone = alone();
    static IN_CALL: AtomicBool = AtomicBool::new(false);
    in_child(|| {
        let busy = alarm(|_| {
            IN_CALL.store(true, SeqCst);
            loop {
                thread::yield_now();
            }
        });
        let other = idle();
        busy.arm(Ticks::now());
        wait_until("the call", || IN_CALL.load(SeqCst));
        let soon = within(ms(1));
        forbid_system_calls();
        other.arm(soon);
        other.arm(Ticks::from_nanos(0));
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    });
}
