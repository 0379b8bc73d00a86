//! Alarms and the timer: arming against falling asleep, claim and put-back against arm and disarm, drop against call.

use crate::slot::NEVER;
use crate::{LOOK, Log, Model, WAKE, explore};
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

/// The timer means to sleep until 100; whoever arms for 20 meanwhile is either seen or rings.
#[test]
fn an_earlier_deadline_is_noticed() {
    explore(None, || {
        let m = Model::new();
        let (far, _) = m.insert(NEVER);
        let (near, _) = m.insert(NEVER);
        m.schedule.arm(far, 100);
        let timer = thread::spawn({
            let m = m.clone();
            move || {
                let next = m.schedule.round(LOOK);
                // Does not return unless it knows of the 20.
                m.schedule.sleep(next, || WAKE);
            }
        });
        m.schedule.arm(near, WAKE);
        timer.join().unwrap();
    });
}

/// Also when the timer has slept before, and `until` is an old value.
#[test]
fn a_deadline_between_two_sleeps_is_noticed() {
    explore(Some(3), || {
        let m = Model::new();
        let (a, first) = m.insert(NEVER);
        let (b, second) = m.insert(NEVER);
        let timer = thread::spawn({
            let m = m.clone();
            move || m.run(|| first.calls() > 0 && second.calls() > 0)
        });
        m.schedule.arm(a, 5);
        m.schedule.arm(b, 9);
        timer.join().unwrap();
    });
}

/// Two threads arm at once: both are served.
#[test]
fn two_armers_are_both_served() {
    explore(Some(2), || {
        let m = Model::new();
        let (a, first) = m.insert(NEVER);
        let (b, second) = m.insert(NEVER);
        let timer = thread::spawn({
            let m = m.clone();
            move || m.run(|| first.calls() > 0 && second.calls() > 0)
        });
        let other = thread::spawn({
            let m = m.clone();
            move || m.schedule.arm(b, 9)
        });
        m.schedule.arm(a, 5);
        other.join().unwrap();
        timer.join().unwrap();
    });
}

/// The call for a deadline sees what was written before it was armed.
#[test]
fn a_call_sees_what_came_before_its_arm() {
    explore(None, || {
        let m = Model::new();
        let (alarm, log) = m.insert(NEVER);
        let timer = thread::spawn({
            let (m, log) = (m.clone(), log.clone());
            move || m.run(|| log.calls() > 0)
        });
        m.world.store(1, Relaxed);
        m.schedule.arm(alarm, 5);
        timer.join().unwrap();
        assert_eq!(log.informed.load(SeqCst), 1);
    });
}

/// Arming while the timer claims, calls or puts back: there is another call, and it sees the world as it is now.
#[test]
fn an_arm_during_the_call_stands() {
    explore(None, || {
        let m = Model::new();
        let (alarm, log) = m.insert(NEVER);
        m.schedule.arm(alarm, 5);
        let timer = thread::spawn({
            let m = m.clone();
            move || m.run(|| log.informed.load(SeqCst) > 0)
        });
        m.world.store(1, Relaxed);
        m.schedule.arm(alarm, 7);
        timer.join().unwrap();
    });
}

/// Armed for later during the call, which wants to be called again soon: the call may not know yet why it was armed, and the
/// armer does not know what the call wants, so the earlier holds. (The call itself arms: one thread is enough.)
#[test]
fn the_earlier_of_arm_and_put_back_holds() {
    explore(None, || {
        for (again, armed) in [(50, 200), (200, 50), (NEVER, 50)] {
            let m = Model::new();
            let slot = Arc::new(OnceLock::new());
            let alarm = m.insert_with(&Arc::default(), {
                let (m, slot) = (Arc::downgrade(&m), slot.clone());
                move || {
                    m.upgrade()
                        .unwrap()
                        .schedule
                        .arm(*slot.get().unwrap(), armed);
                    again
                }
            });
            let _ = slot.set(alarm);
            m.schedule.arm(alarm, 5);
            assert_eq!(m.schedule.round(LOOK), 50);
            assert_eq!(m.schedule.round(LOOK), 50);
        }
    });
}

/// Disarming while the timer claims, calls or puts back: no call begins after it.
#[test]
fn a_disarm_during_the_call_stands() {
    explore(None, || {
        let m = Model::new();
        let (alarm, log) = m.insert(5);
        m.schedule.arm(alarm, 5);
        let timer = thread::spawn({
            let m = m.clone();
            move || {
                m.schedule.round(LOOK);
                m.schedule.round(LOOK);
            }
        });
        m.schedule.disarm(alarm);
        timer.join().unwrap();
        let before = log.calls();
        assert_eq!(m.schedule.round(LOOK), NEVER);
        assert_eq!(log.calls(), before);
    });
}

/// An alarm is dropped while the timer looks at it: its payload ends once, never during a call, and whoever gets the slot next
/// is not called for the old deadline.
#[test]
fn a_dropped_alarm_ends_once_and_leaves_nothing() {
    explore(Some(4), || {
        let m = Model::new();
        let (old, first) = m.insert(5);
        m.schedule.arm(old, 5);
        let timer = thread::spawn({
            let m = m.clone();
            move || {
                m.schedule.round(LOOK);
                m.schedule.round(LOOK);
            }
        });
        drop(m.schedule.remove(old));
        let (new, second) = m.insert(NEVER);
        m.schedule.arm(new, 50);
        timer.join().unwrap();
        assert_eq!(first.ends.load(SeqCst), 1);
        assert_eq!((second.calls(), second.ends.load(SeqCst)), (0, 0));
        assert_eq!(m.schedule.round(LOOK), 50);
        drop(m.schedule.remove(new));
        assert_eq!(second.ends.load(SeqCst), 1);
        assert_eq!(m.schedule.round(LOOK), NEVER);
    });
}

/// The next owner of a slot arms it at once, for a time that has come: he is called, though the timer may be on the way with
/// the old deadline.
#[test]
fn a_reused_slot_is_served() {
    explore(Some(3), || {
        let m = Model::new();
        let (old, _) = m.insert(NEVER);
        m.schedule.arm(old, 5);
        let log = Arc::new(Log::default());
        let timer = thread::spawn({
            let (m, log) = (m.clone(), log.clone());
            move || m.run(|| log.informed.load(SeqCst) > 0)
        });
        drop(m.schedule.remove(old));
        let new = m.insert_with(&log, || NEVER);
        m.world.store(1, Relaxed);
        m.schedule.arm(new, 5);
        timer.join().unwrap();
        assert_eq!(log.calls(), 1);
    });
}
