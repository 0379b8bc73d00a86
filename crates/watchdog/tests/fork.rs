//! Forks: what the child has, what the parent keeps. The tests run one at a time, since a fork copies what the others are at.

mod common;

use common::{alarm, counting, in_child, ms, threads, timer_threads, wait_for, wait_until, within};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use watchdog::cpu::{ThreadClock, own_time};
use watchdog::poke::{self, Thread};
use watchdog::{Alarm, Ticks, fork};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn fires(a: &Alarm, calls: &AtomicU32) {
    let before = calls.load(SeqCst);
    let at = within(ms(2));
    a.arm(at);
    wait_until("an alarm", || calls.load(SeqCst) > before);
    assert!(Ticks::now() >= at);
}

#[test]
fn alarms_work_in_child_and_parent() {
    let _alone = alone();
    let (a, calls) = counting();
    fires(&a, &calls);
    // Armed before, never touched by the child: it must fire all the same, in both.
    let (before, before_calls) = counting();
    let at = within(ms(30));
    before.arm(at);
    in_child(|| {
        wait_until("what was armed before", || before_calls.load(SeqCst) == 1);
        assert!(Ticks::now() >= at);
        fires(&a, &calls);
        let (new, new_calls) = counting();
        fires(&new, &new_calls);
        assert_eq!(timer_threads().len(), 1);
        // And in the child's child.
        in_child(|| {
            fires(&a, &calls);
            fires(&new, &new_calls);
        });
        drop((new, before));
        fires(&a, &calls);
    });
    fires(&a, &calls);
    wait_until("in the parent too", || before_calls.load(SeqCst) == 1);
}

#[test]
fn a_child_without_deadlines_has_no_timer_until_it_arms() {
    let _alone = alone();
    let (a, calls) = counting();
    fires(&a, &calls);
    in_child(|| {
        assert_eq!(threads().len(), 1, "no thread that nobody asked for");
        fires(&a, &calls);
        assert_eq!(timer_threads().len(), 1);
    });
}

/// The parent's timer sleeps for a deadline that was taken away; the child, where nobody sleeps, arms a later one.
#[test]
fn a_sleep_of_the_parent_means_nothing_in_the_child() {
    let _alone = alone();
    let (a, calls) = counting();
    fires(&a, &calls);
    let old = within(ms(200));
    a.arm(old);
    // Seen by the timer, which goes to sleep for it.
    thread::sleep(ms(20));
    a.disarm();
    in_child(|| {
        let seen = calls.load(SeqCst);
        a.arm(old.after(ms(1)));
        wait_until("the later deadline", || calls.load(SeqCst) > seen);
    });
}

/// The parent's timer thread is in the middle of a call when the process forks.
#[test]
fn a_call_under_way_is_made_again_in_the_child() {
    let _alone = alone();
    static ENTERED: AtomicU32 = AtomicU32::new(0);
    static LEAVE: AtomicBool = AtomicBool::new(false);
    struct Sign(&'static AtomicU32);
    impl Drop for Sign {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    /// Lets the timer thread go, also when an assertion fails.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            LEAVE.store(true, SeqCst);
        }
    }
    let _leave = Leave;
    let blocking = |sign: Option<Sign>| {
        alarm(move |_| {
            let _keep = &sign;
            ENTERED.fetch_add(1, SeqCst);
            while !LEAVE.load(SeqCst) {
                thread::yield_now();
            }
            Ticks::NEVER
        })
    };
    let a = blocking(None);
    a.arm(Ticks::now());
    wait_until("the call", || ENTERED.load(SeqCst) == 1);
    in_child(|| {
        LEAVE.store(true, SeqCst);
        wait_until("the call in the child", || ENTERED.load(SeqCst) == 2);
        let (b, calls) = counting();
        fires(&b, &calls);
        assert_eq!(ENTERED.load(SeqCst), 2);
    });
    // Disarmed during the call: that holds in the child.
    a.disarm();
    in_child(|| {
        LEAVE.store(true, SeqCst);
        let (b, calls) = counting();
        fires(&b, &calls);
        assert_eq!(ENTERED.load(SeqCst), 1);
    });
    LEAVE.store(true, SeqCst);
    let (c, calls) = counting();
    fires(&c, &calls);

    // Dropped during the call: the child's timer clears up, without calling.
    LEAVE.store(false, SeqCst);
    let b = blocking(Some(Sign(&DROPPED)));
    b.arm(Ticks::now());
    wait_until("the second call", || ENTERED.load(SeqCst) == 2);
    drop(b);
    in_child(|| {
        wait_until("the drop in the child", || DROPPED.load(SeqCst) == 1);
        assert_eq!(ENTERED.load(SeqCst), 2);
    });
    assert_eq!(DROPPED.load(SeqCst), 0);
    LEAVE.store(true, SeqCst);
    wait_until("the drop in the parent", || DROPPED.load(SeqCst) == 1);
}

/// A callback forks: the child consists of the timer thread.
#[test]
fn the_timer_thread_forks() {
    let _alone = alone();
    static CHILD: AtomicI32 = AtomicI32::new(-1);
    let (other, calls) = counting();
    let other = Arc::new(other);
    let a = alarm({
        let (other, calls) = (other.clone(), calls.clone());
        move |now| match CHILD.load(SeqCst) {
            -1 => {
                // SAFETY: the child is this thread; it uses atomics and ends below.
                let pid = unsafe { libc::fork() };
                CHILD.store(pid, SeqCst);
                // In the child: again, and then it ends; SIGALRM ends it if it hangs.
                if pid == 0 {
                    // SAFETY: a plain system call.
                    unsafe { libc::alarm(20) };
                    other.arm(now);
                    now.after(ms(5))
                } else {
                    Ticks::NEVER
                }
            }
            0 => {
                let good = threads().len() == 1 && calls.load(SeqCst) == 1;
                // SAFETY: ends the child.
                unsafe { libc::_exit(if good { 0 } else { 1 }) }
            }
            _ => Ticks::NEVER,
        }
    });
    a.arm(Ticks::now());
    wait_until("the fork", || CHILD.load(SeqCst) > 0);
    assert_eq!(wait_for(CHILD.load(SeqCst)), 0);
    fires(&other, &calls);
}

/// Other threads arm, make, drop and allocate all the time, so that forks hit every moment of it.
#[test]
fn while_other_threads_are_busy() {
    let _alone = alone();
    let stop = Arc::new(AtomicBool::new(false));
    let (shared, shared_calls) = counting();
    let shared = Arc::new(shared);
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let (stop, shared) = (stop.clone(), shared.clone());
            thread::spawn(move || {
                let mut i = 0;
                while !stop.load(SeqCst) {
                    i += 1;
                    let (own, _) = counting();
                    own.arm(within(Duration::from_micros(i % 40)));
                    shared.arm(within(Duration::from_micros(i % 30)));
                    if i % 7 == 0 {
                        shared.disarm();
                    }
                }
            })
        })
        .collect();
    let (a, calls) = counting();
    for _ in 0..100 {
        let seen = calls.load(SeqCst);
        a.arm(within(ms(1)));
        in_child(|| {
            // Whatever the parent's timer was doing with it: the deadline is met here too.
            wait_until("the old deadline", || calls.load(SeqCst) > seen);
            a.disarm();
            // May be called for the deadline of a thread that is not here: no word about the time.
            let shared_seen = shared_calls.load(SeqCst);
            shared.arm(within(ms(1)));
            wait_until("the shared alarm", || {
                shared_calls.load(SeqCst) > shared_seen
            });
            let (new, new_calls) = counting();
            fires(&new, &new_calls);
            assert_eq!(timer_threads().len(), 1);
        });
        wait_until("the deadline in the parent", || calls.load(SeqCst) > seen);
    }
    stop.store(true, SeqCst);
    busy.into_iter().for_each(|t| t.join().unwrap());
    let seen = shared_calls.load(SeqCst);
    shared.arm(Ticks::now());
    wait_until("the shared alarm, afterwards", || {
        shared_calls.load(SeqCst) > seen
    });
}

static POKED: AtomicU64 = AtomicU64::new(0);
static POKES: AtomicU32 = AtomicU32::new(0);

fn handler() {
    if Thread::from_bits(POKED.load(SeqCst)).is_some_and(|t| t.is_current()) {
        POKES.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_child_has_an_identity_of_its_own() {
    let _alone = alone();
    // SAFETY: the handler uses atomics and a system call.
    unsafe { poke::on_poke(handler).unwrap() };
    let (parent, clock) = (Thread::current(), ThreadClock::current());
    let check = || {
        POKES.store(0, SeqCst);
        let me = Thread::current();
        POKED.store(me.to_bits(), SeqCst);
        assert!(me.is_current());
        assert!(me.poke());
        assert_eq!(POKES.load(SeqCst), 1);
    };
    in_child(|| {
        assert_ne!(Thread::current(), parent);
        assert!(!parent.is_current());
        assert!(!parent.poke(), "the parent's thread is not in this process");
        assert_eq!(clock.read(), None);
        assert!(ThreadClock::current().read().is_some());
        check();
        in_child(check);
    });
    assert_eq!(Thread::current(), parent);
    check();
}

static ORDER: Mutex<Vec<(u32, bool)>> = Mutex::new(Vec::new());
static PARENT: AtomicU64 = AtomicU64::new(0);

/// Notes the call, and whether the thread's identity was renewed already.
fn note(n: u32) {
    ORDER
        .lock()
        .unwrap()
        .push((n, Thread::current().to_bits() != PARENT.load(SeqCst)));
}

#[inline(never)]
fn one() {
    note(1);
}

#[inline(never)]
fn two() {
    note(2);
}

#[test]
fn functions_for_the_child() {
    let _alone = alone();
    PARENT.store(Thread::current().to_bits(), SeqCst);
    // Registered from many threads at once: the handlers of the process still run once.
    let threads: Vec<_> = (0..4)
        .map(|_| thread::spawn(|| fork::on_child(one)))
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    fork::on_child(two);
    fork::on_child(one);
    let check = || assert_eq!(*ORDER.lock().unwrap(), [(1, true), (2, true)]);
    in_child(|| {
        check();
        ORDER.lock().unwrap().clear();
        in_child(check);
    });
    assert!(ORDER.lock().unwrap().is_empty(), "not in the parent");
}

/// What a thread has used is not forgotten in the child, where the system begins to count anew.
#[test]
fn cpu_time_goes_on() {
    let _alone = alone();
    let (a, calls) = counting();
    fires(&a, &calls); // so the handlers are there
    let start = own_time();
    while own_time() - start < ms(50) {
        std::hint::spin_loop();
    }
    let before = own_time();
    in_child(|| {
        let clock = ThreadClock::current();
        let (own, read) = (own_time(), clock.read().expect("this thread"));
        assert!(
            own >= before && read >= before,
            "{before:?} {own:?} {read:?}"
        );
        assert!(read < before + ms(1000), "{before:?} {read:?}");
        // Another thread has a clock of its own.
        let other = thread::spawn(|| (own_time(), ThreadClock::current().read()));
        let (own, read) = other.join().unwrap();
        assert!(
            own < ms(50) && read.expect("itself") < ms(50),
            "{own:?} {read:?}"
        );
        in_child(|| assert!(own_time() >= before));
    });
    assert!(own_time() < before + ms(1000), "as ever in the parent");
}
