//! Pokes: the right thread and only that one, whatever it did with its signal mask.

mod common;

use common::{ms, wait_until};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::thread;
use watchdog::cpu::ThreadClock;
use watchdog::poke::{self, Thread};

/// A thread that waits to be poked, and its count of pokes. The handler looks through them as the engine's does.
struct Place {
    thread: AtomicU64,
    pokes: AtomicU32,
}

static PLACES: [Place; 8] = [const {
    Place {
        thread: AtomicU64::new(0),
        pokes: AtomicU32::new(0),
    }
}; 8];
static NEXT: AtomicU32 = AtomicU32::new(0);
static OTHERS: AtomicU32 = AtomicU32::new(0);
static TWICE: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
fn handler() {
    let mine = PLACES
        .iter()
        .find(|p| Thread::from_bits(p.thread.load(SeqCst)).is_some_and(|t| t.is_current()));
    match mine {
        Some(place) => place.pokes.fetch_add(1, SeqCst),
        None => OTHERS.fetch_add(1, SeqCst),
    };
    // SAFETY: the address of this thread's errno. What a handler does to it must not be seen outside.
    unsafe { *libc::__errno_location() = 99 };
}

#[inline(never)]
fn second() {
    TWICE.fetch_add(1, SeqCst);
}

/// The tests run one at a time: one of them counts pokes that went astray.
fn install() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    // SAFETY: both use atomics and a system call only.
    unsafe {
        poke::on_poke(handler).unwrap();
        poke::on_poke(handler).unwrap();
        poke::on_poke(second).unwrap();
    }
    alone
}

/// Puts the calling thread into a place.
fn take_place() -> (Thread, &'static Place) {
    let place = &PLACES[NEXT.fetch_add(1, SeqCst) as usize];
    let me = Thread::current();
    place.thread.store(me.to_bits(), SeqCst);
    (me, place)
}

fn leave(place: &Place) {
    place.thread.store(0, SeqCst);
}

#[test]
fn reaches_the_right_thread_and_only_it() {
    let _alone = install();
    static STOP: AtomicBool = AtomicBool::new(false);
    let astray = OTHERS.load(SeqCst);
    let (tell, told) = mpsc::channel();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let tell = tell.clone();
            thread::spawn(move || {
                let (me, place) = take_place();
                assert!(me.is_current());
                assert_eq!(me, Thread::current());
                tell.send((me, place)).unwrap();
                while !STOP.load(SeqCst) {
                    std::hint::spin_loop();
                    thread::yield_now();
                }
                leave(place);
            })
        })
        .collect();
    let found: Vec<(Thread, &Place)> = (0..3).map(|_| told.recv().unwrap()).collect();
    for (n, (thread, place)) in found.iter().enumerate() {
        assert!(!thread.is_current());
        assert_eq!(Thread::from_bits(thread.to_bits()), Some(*thread));
        assert_eq!(thread.id().get(), thread.to_bits());
        for i in 0..20 {
            assert!(thread.poke());
            wait_until("the poke", || place.pokes.load(SeqCst) == i + 1);
        }
        let counts: Vec<u32> = found.iter().map(|(_, p)| p.pokes.load(SeqCst)).collect();
        let expected: Vec<u32> = (0..3).map(|i| if i <= n { 20 } else { 0 }).collect();
        assert_eq!(counts, expected);
    }
    STOP.store(true, SeqCst);
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(OTHERS.load(SeqCst), astray, "a thread that nobody poked");
    assert_eq!(Thread::from_bits(0), None);
}

/// In this thread, at once: the signal is delivered before tgkill returns. Each function is called once, and errno stays.
#[test]
fn pokes_itself() {
    let _alone = install();
    let (me, place) = take_place();
    let twice = TWICE.load(SeqCst);
    let pokes = || (place.pokes.load(SeqCst), TWICE.load(SeqCst) - twice);
    // SAFETY: the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { *errno = 5 };
    assert!(me.poke());
    // SAFETY: as above.
    assert_eq!(unsafe { *errno }, 5);
    assert_eq!(pokes(), (1, 1));
    leave(place);
}

#[test]
fn a_blocked_signal_is_unblocked() {
    let _alone = install();
    thread::spawn(|| {
        let blocked = |how| {
            // SAFETY: valid sets.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGURG);
                let mut old = std::mem::zeroed();
                libc::pthread_sigmask(
                    how,
                    if how == libc::SIG_SETMASK {
                        std::ptr::null()
                    } else {
                        &set
                    },
                    &mut old,
                );
                libc::sigismember(&old, libc::SIGURG) == 1
            }
        };
        blocked(libc::SIG_BLOCK);
        assert!(blocked(libc::SIG_SETMASK), "the test blocks it");
        let (me, place) = take_place();
        assert!(!blocked(libc::SIG_SETMASK));
        assert!(me.poke());
        assert_eq!(place.pokes.load(SeqCst), 1);
        leave(place);
    })
    .join()
    .unwrap();
}

#[test]
fn a_thread_that_has_ended() {
    let _alone = install();
    let (thread, clock, alive) = thread::spawn(|| {
        let clock = ThreadClock::current();
        (Thread::current(), clock, clock.read())
    })
    .join()
    .unwrap();
    assert!(alive.is_some());
    // The kernel lets go of a thread a moment after it was joined.
    wait_until("it cannot be poked", || !thread.poke());
    assert!(!thread.is_current());
    assert_eq!(clock.read(), None);
    // These fail inside, and say so by what they return alone.
    // SAFETY: the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    let fail: [&dyn Fn() -> bool; 2] = [&|| !thread.poke(), &|| clock.read().is_none()];
    for fails in fail {
        // SAFETY: as above.
        unsafe { *errno = 5 };
        assert!(fails());
        // SAFETY: as above.
        assert_eq!(unsafe { *errno }, 5);
    }
    assert!(!Thread::from_bits(u64::MAX).unwrap().poke());
    assert_eq!(ThreadClock::from_bits(u64::MAX).unwrap().read(), None);
}

#[test]
fn wakes_a_sleeper() {
    let _alone = install();
    let (tell, told) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        tell.send(Thread::current()).unwrap();
        let time = libc::timespec {
            tv_sec: 15,
            tv_nsec: 0,
        };
        // SAFETY: a valid time. The raw call: the library's would go on sleeping.
        let code = unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
        assert_eq!(
            (code, std::io::Error::last_os_error().raw_os_error()),
            (-1, Some(libc::EINTR))
        );
    });
    let thread = told.recv().unwrap();
    wait_until("it wakes", || {
        thread.poke();
        thread::sleep(ms(1));
        sleeper.is_finished()
    });
    sleeper.join().unwrap();
}

/// The clock of a thread that computes goes on, that of one that sleeps does not.
#[test]
fn cpu_clocks() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    let busy = thread::spawn({
        let tell = tell.clone();
        move || {
            tell.send(ThreadClock::current()).unwrap();
            while !STOP.load(SeqCst) {
                std::hint::spin_loop();
            }
        }
    });
    let busy_clock = told.recv().unwrap();
    let lazy = thread::spawn(move || {
        tell.send(ThreadClock::current()).unwrap();
        while !STOP.load(SeqCst) {
            thread::park();
        }
    });
    let lazy_clock = told.recv().unwrap();
    assert_ne!(busy_clock, lazy_clock);
    assert_eq!(
        ThreadClock::from_bits(busy_clock.to_bits()),
        Some(busy_clock)
    );
    let start = busy_clock.read().unwrap();
    wait_until("20 ms of work", || {
        busy_clock.read().unwrap() - start > ms(20)
    });
    assert!(lazy_clock.read().unwrap() < ms(20));
    STOP.store(true, SeqCst);
    lazy.thread().unpark();
    busy.join().unwrap();
    lazy.join().unwrap();
}

/// A read from a pipe that nobody writes to: a poke has it restarted, the other kind ends it, and later ones have reads restarted again.
#[test]
fn a_system_call_is_ended_on_request_only() {
    let _alone = install();
    let mut pipe = [0; 2];
    // SAFETY: an array of two.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        tell.send(Thread::current()).unwrap();
        let mut byte = [0u8; 1];
        let mut results = Vec::new();
        for _ in 0..3 {
            // SAFETY: one byte of room.
            let n = unsafe { libc::read(pipe[0], byte.as_mut_ptr().cast(), 1) };
            results.push((n, std::io::Error::last_os_error().kind()));
            tell.send(Thread::current()).unwrap();
        }
        results
    });
    let thread = told.recv().unwrap();
    for round in 0..2 {
        for _ in 0..20 {
            assert!(thread.poke());
            thread::sleep(ms(2));
        }
        assert!(told.try_recv().is_err(), "round {round}: ended by a poke");
        while told.try_recv().is_err() {
            assert!(thread.poke_out_of_call());
            thread::sleep(ms(20));
        }
    }
    // SAFETY: one byte.
    assert_eq!(unsafe { libc::write(pipe[1], [7u8].as_ptr().cast(), 1) }, 1);
    let results = reader.join().unwrap();
    for (n, error) in &results[..2] {
        assert_eq!((*n, *error), (-1, std::io::ErrorKind::Interrupted));
    }
    assert_eq!(results[2].0, 1);
}

/// One that has ended takes no signal, by which system calls are restarted again: so they are at once.
#[test]
fn a_thread_that_has_ended_leaves_no_calls_to_fail() {
    // SAFETY: `nothing` does nothing.
    unsafe { poke::on_poke(nothing).unwrap() };
    let gone = thread::spawn(Thread::current).join().unwrap();
    wait_until("its end", || !gone.poke());
    for _ in 0..100 {
        assert!(!gone.poke_out_of_call());
    }
    wait_until("the flag", || {
        // SAFETY: the structure is filled.
        let action = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(
                libc::sigaction(libc::SIGURG, std::ptr::null(), &mut action),
                0
            );
            action
        };
        action.sa_flags & libc::SA_RESTART != 0
    });
}

fn nothing() {}
