//! Unit tests of `request` and `slab`. (Not in those files: loom's models include them, `tests/loom.rs`.)

use crate::request::{CHECK, KILL, Request};
use crate::slab::Slab;
use crate::sync::AtomicPtr;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn an_old_generation_cannot_ask() {
    let r = Request::default();
    r.renew();
    let g = r.generation();
    assert!(r.ask(g, CHECK) && r.ask(g, KILL));
    assert_eq!(r.flags(), CHECK | KILL);
    r.answer(CHECK);
    assert_eq!(r.flags(), KILL);
    r.renew();
    assert_eq!(r.flags(), 0);
    assert!(!r.ask(g, KILL));
    assert_eq!(r.flags(), 0);
}

#[test]
fn records_are_distinct_and_used_again() {
    static SLAB: Slab<AtomicUsize> = Slab::over(AtomicPtr::new(ptr::null_mut()));
    let places: Vec<_> = (0..200).map(|_| SLAB.take()).collect();
    for (i, p) in places.iter().enumerate() {
        assert_eq!(p.get().swap(i + 1, Ordering::Relaxed), 0, "taken twice");
    }
    places[7].set_pending();
    places[150].set_pending();
    let mut seen = vec![];
    SLAB.for_each_pending(|r| seen.push(r.load(Ordering::Relaxed)));
    assert_eq!(seen, [8, 151]);
    places[7].give_back();
    seen.clear();
    SLAB.for_each_pending(|r| seen.push(r.load(Ordering::Relaxed)));
    assert_eq!(seen, [151]);
    assert_eq!(SLAB.take().get().load(Ordering::Relaxed), 8);
}

#[test]
fn threads_never_share_a_record() {
    static SLAB: Slab<AtomicUsize> = Slab::over(AtomicPtr::new(ptr::null_mut()));
    std::thread::scope(|s| {
        for t in 1..=4 {
            s.spawn(move || {
                for _ in 0..if cfg!(miri) { 100 } else { 20_000 } {
                    let p = SLAB.take();
                    assert_eq!(p.get().swap(t, Ordering::Relaxed), 0);
                    assert_eq!(p.get().swap(0, Ordering::Relaxed), t);
                    p.give_back();
                }
            });
        }
    });
}
