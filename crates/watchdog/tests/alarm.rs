//! Alarms on the real timer thread: what is called, how often, and never too early.

mod common;

use common::{alarm, ms, wait_until, watch, within};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;
use watchdog::{Alarm, Ticks, Watch};

/// An alarm that counts its calls and keeps the time of the last.
fn counting() -> (Alarm, Arc<AtomicU32>, Arc<AtomicU64>) {
    let (calls, last) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let a = alarm({
        let (calls, last) = (calls.clone(), last.clone());
        move |now| {
            last.store(now.as_nanos(), SeqCst);
            calls.fetch_add(1, SeqCst);
            Ticks::NEVER
        }
    });
    (a, calls, last)
}

#[test]
fn fires_once_and_not_early() {
    let (a, calls, last) = counting();
    for wait in [0, 1, 5, 20] {
        calls.store(0, SeqCst);
        let at = within(ms(wait));
        a.arm(at);
        wait_until("the call", || calls.load(SeqCst) > 0);
        assert!(last.load(SeqCst) >= at.as_nanos());
        thread::sleep(ms(5));
        assert_eq!(calls.load(SeqCst), 1);
    }
}

#[test]
fn a_deadline_of_the_past_is_due_at_once() {
    let (a, calls, _) = counting();
    a.arm(Ticks::from_nanos(0));
    wait_until("the call", || calls.load(SeqCst) == 1);
    a.arm(Ticks::from_nanos(1));
    wait_until("the second call", || calls.load(SeqCst) == 2);
}

#[test]
fn arming_again_replaces() {
    let (a, calls, last) = counting();
    // Later. Once more, if this thread was kept waiting until the first deadline had come.
    let at = loop {
        let (first, at) = (within(ms(20)), within(ms(60)));
        a.arm(first);
        a.arm(at);
        if Ticks::now() < first {
            break at;
        }
    };
    calls.store(0, SeqCst);
    wait_until("the call", || calls.load(SeqCst) > 0);
    assert!(last.load(SeqCst) >= at.as_nanos());
    // Earlier: comes long before the hour is over.
    a.arm(within(Duration::from_secs(3600)));
    calls.store(0, SeqCst);
    a.arm(within(ms(1)));
    wait_until("the earlier deadline", || calls.load(SeqCst) == 1);
}

/// Arms `a` for soon and then does `undo`; once more, if this thread was kept waiting until the deadline had come.
fn arm_and_undo(a: &Alarm, undo: impl Fn()) {
    loop {
        let at = within(ms(20));
        a.arm(at);
        undo();
        if Ticks::now() < at {
            return;
        }
    }
}

#[test]
fn disarmed_is_silent() {
    let (a, calls, _) = counting();
    let (b, sign, _) = counting();
    // The last points before NEVER are as good as it.
    let ways: [&dyn Fn(); 4] = [
        &|| a.disarm(),
        &|| a.arm(Ticks::NEVER),
        &|| a.arm(Ticks::from_nanos(u64::MAX - 1)),
        &|| a.arm(Ticks::from_nanos(u64::MAX - 2)),
    ];
    for undo in ways {
        arm_and_undo(&a, undo);
        let (before, seen) = (calls.load(SeqCst), sign.load(SeqCst));
        b.arm(within(ms(40)));
        wait_until("a later alarm", || sign.load(SeqCst) > seen);
        assert_eq!(calls.load(SeqCst), before);
        a.arm(Ticks::now());
        wait_until("armed again", || calls.load(SeqCst) > before);
    }
}

#[test]
fn a_watch_can_ask_for_the_next_call() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let a = alarm({
        let times = times.clone();
        move |now| {
            let mut times = times.lock().unwrap();
            times.push(now);
            if times.len() < 10 {
                now.after(ms(2))
            } else {
                Ticks::NEVER
            }
        }
    });
    a.arm(Ticks::now());
    wait_until("ten calls", || times.lock().unwrap().len() == 10);
    thread::sleep(ms(10));
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 10);
    assert!(
        times.windows(2).all(|w| w[1].since(w[0]) >= ms(2)),
        "{times:?}"
    );
}

#[test]
fn thousands() {
    const N: u64 = 10_000;
    let early = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicU32::new(0));
    let start = Ticks::now();
    let alarms: Vec<Alarm> = (0..N)
        .map(|i| {
            // In no order, spread over 100 ms.
            let at = start.after(Duration::from_micros(i * 7919 % 100_000));
            let (early, done) = (early.clone(), done.clone());
            let a = alarm(move |now| {
                early.fetch_add(u32::from(now < at || Ticks::now() < at), SeqCst);
                done.fetch_add(1, SeqCst);
                Ticks::NEVER
            });
            a.arm(at);
            a
        })
        .collect();
    wait_until("all of them", || done.load(SeqCst) == N as u32);
    assert_eq!(early.load(SeqCst), 0);
    drop(alarms);
    // Their slots serve again.
    let (a, calls, _) = counting();
    a.arm(Ticks::now());
    wait_until("a slot used again", || calls.load(SeqCst) == 1);
}

#[test]
fn dropped_here_when_idle() {
    let w = watch(|_| Ticks::NEVER);
    let a = Alarm::new(w.clone()).unwrap();
    a.arm(within(ms(10)));
    drop(a);
    assert_eq!(Arc::strong_count(&w), 1);
}

/// Says when it is dropped, and on which thread.
struct Dropped(Arc<OnceLock<thread::ThreadId>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.set(thread::current().id());
    }
}

#[test]
fn dropped_during_the_call() {
    let (gate, dropped) = (Arc::new(Barrier::new(2)), Arc::new(OnceLock::new()));
    let calls = Arc::new(AtomicU32::new(0));
    let a = alarm({
        let (gate, calls, guard) = (gate.clone(), calls.clone(), Dropped(dropped.clone()));
        move |now| {
            gate.wait();
            gate.wait();
            assert!(guard.0.get().is_none(), "alive while in use");
            calls.fetch_add(1, SeqCst);
            now // at once again, if it were still there
        }
    });
    a.arm(Ticks::now());
    gate.wait();
    drop(a); // does not wait: the call goes on after the next line
    assert!(dropped.get().is_none());
    gate.wait();
    wait_until("the drop", || dropped.get().is_some());
    assert_ne!(*dropped.get().unwrap(), thread::current().id());
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn an_alarm_can_be_used_and_dropped_by_its_own_call() {
    let me: Arc<Mutex<Option<Alarm>>> = Arc::default();
    let calls = Arc::new(AtomicU32::new(0));
    let w = watch({
        let (me, calls) = (me.clone(), calls.clone());
        move |now| {
            let n = calls.fetch_add(1, SeqCst);
            let mut me = me.lock().unwrap();
            match n {
                // Armed for soon by the call: holds, whatever the call returns.
                0 => me.as_ref().unwrap().arm(now.after(ms(1))),
                // Disarmed by the call: what it returns is ignored.
                1 => {
                    me.as_ref().unwrap().disarm();
                    return now;
                }
                _ => drop(me.take()),
            }
            Ticks::NEVER
        }
    });
    *me.lock().unwrap() = Some(Alarm::new(w.clone()).unwrap());
    me.lock().unwrap().as_ref().unwrap().arm(Ticks::now());
    wait_until("the second call", || calls.load(SeqCst) == 2);
    thread::sleep(ms(10));
    assert_eq!(calls.load(SeqCst), 2);
    me.lock().unwrap().as_ref().unwrap().arm(Ticks::now());
    wait_until("the end", || Arc::strong_count(&w) == 1);
}

#[test]
fn a_panic_disarms_one_and_leaves_the_others() {
    /// Panics in the call and again when it is dropped.
    struct Bad(Arc<AtomicU32>);
    impl Watch for Bad {
        fn due(&self, now: Ticks) -> Ticks {
            match self.0.fetch_add(1, SeqCst) {
                0 => panic!("a planted panic: this message is expected"),
                1 => {
                    thread::sleep(ms(100)); // dropped meanwhile
                    now
                }
                n => unreachable!("{n}"),
            }
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.fetch_add(100, SeqCst);
            panic!("another planted panic: this message is expected");
        }
    }
    let calls = Arc::new(AtomicU32::new(0));
    let bad = Alarm::new(Arc::new(Bad(calls.clone()))).unwrap();
    let (good, sign, _) = counting();
    bad.arm(Ticks::now());
    wait_until("the panic", || calls.load(SeqCst) == 1);
    good.arm(Ticks::now());
    wait_until("the other alarm", || sign.load(SeqCst) == 1);
    assert_eq!(calls.load(SeqCst), 1, "disarmed by the panic");
    bad.arm(Ticks::now());
    wait_until("armed again", || calls.load(SeqCst) == 2);
    drop(bad);
    wait_until("dropped on the timer thread", || calls.load(SeqCst) == 102);
    good.arm(Ticks::now());
    wait_until("the other alarm, again", || sign.load(SeqCst) == 2);
}

#[test]
fn many_threads_arm_disarm_and_drop() {
    let stop = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(counting());
    let threads: Vec<_> = (0..4)
        .map(|n: u64| {
            let (stop, shared) = (stop.clone(), shared.clone());
            thread::spawn(move || {
                let mut rounds = 0u64;
                while !stop.load(SeqCst) {
                    rounds += 1;
                    let (own, calls, _) = counting();
                    let at = within(Duration::from_micros(rounds * (n + 1) % 50));
                    own.arm(at);
                    shared.0.arm(at);
                    if rounds.is_multiple_of(3) {
                        own.disarm();
                        shared.0.disarm();
                    } else if rounds.is_multiple_of(16) {
                        // Each armed deadline is met, in the middle of all this.
                        wait_until("a call under load", || calls.load(SeqCst) == 1);
                    }
                    drop(own);
                    let calls_after = calls.load(SeqCst);
                    assert!(calls_after <= 1, "{calls_after} calls for one arm");
                }
                rounds
            })
        })
        .collect();
    thread::sleep(ms(400));
    stop.store(true, SeqCst);
    for t in threads {
        assert!(t.join().unwrap() > 0);
    }
    let before = shared.1.load(SeqCst);
    shared.0.arm(Ticks::now());
    wait_until("the shared alarm, afterwards", || {
        shared.1.load(SeqCst) > before
    });
}
