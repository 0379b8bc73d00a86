//! Interrupting one coroutine by an integer.
//!
//! An id can be passed anywhere: to another OS thread, through a message queue, into another Lua state. It names a *target*: a word
//! in memory that is never unmapped ([`crate::slab`]), which belongs to one coroutine until that is collected or its state is closed.
//! From then on the id is unknown: the word serves another coroutine with another generation.
//!
//! An id is `place << 30 | nonce`, below 2^53 so that a Lua number holds it. The nonce is how often the place has been used, enciphered by a
//! key of this process: so an id cannot be guessed from another one, and none is used twice before its place has been used 16 million
//! times. It is the low part of the generation, so that one word decides whether an id is alive and takes the request.
//!
//! A request here is not a stop: the coroutine's hook calls what the state has registered ([`crate::Guest::on_interrupt`]), which
//! may raise, or return and let the coroutine go on.

use crate::record::Record;
use crate::request::{Request, TARGETS};
use crate::said::Said;
use crate::slab::{Place, Slab};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Call the handler once.
pub const ONCE: u64 = 1;
/// Call the handler at every operation.
pub const ALWAYS: u64 = 2;

/// End it.
pub const KILLED: u64 = 4;
/// Say where it is.
pub const TRACE: u64 = 8;

const NONCE_BITS: u32 = 30;
const NONCE: u64 = (1 << NONCE_BITS) - 1;
/// Places that an id can name: 2^23.
const MOST: usize = 1 << 23;

static TARGETS_SLAB: Slab<Target> = Slab::over(AtomicPtr::new(ptr::null_mut()));

/// See the module's header.
#[derive(Default)]
pub struct Target {
    word: Request,
    record: AtomicPtr<Record>,
    /// What was said with the last interrupt or kill.
    pub said: Said,
    /// Where it was, for who has asked.
    pub trace: Said,
    /// Where this target lies, once it has been used. (An entry holds one word, which a signal handler never sees half written.)
    place: OnceLock<Place<Target>>,
}

/// How to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The handler is called once.
    Once,
    /// The handler is called again at every operation, until [`How::NoMore`].
    Always,
    /// Takes back what has been asked for and not been answered yet.
    NoMore,
}

/// Interrupts the coroutine or state with this id, from any thread. False if it is unknown: it never was, or it is gone.
pub fn interrupt(id: u64, how: How) -> bool {
    let flags = match how {
        How::Once => ONCE,
        How::Always => ALWAYS,
        How::NoMore => {
            let Some((target, generation)) = find(id) else {
                return false;
            };
            let alive = target.word.ask(generation, 0);
            if alive {
                target.word.answer(ONCE | ALWAYS);
            }
            return alive;
        }
    };
    ask(id, flags, None)
}

/// As [`interrupt`] with [`How::Once`], and the handler gets a text. False if the id is unknown.
pub fn interrupt_with(id: u64, message: String) -> bool {
    ask(id, ONCE, Some(message))
}

/// Asks, and leaves a text. False if the id is unknown.
pub fn ask(id: u64, flags: u64, message: Option<String>) -> bool {
    let Some((target, generation)) = find(id) else {
        return false;
    };
    // Acquire: pairs with `take`. Read before the word is changed: if the word still has our generation then, so had this.
    let record = target.record.load(Ordering::Acquire);
    if flags & (ONCE | KILLED) != 0 {
        target.said.put(message); // should the target change hands just now, whoever is next takes it away
    }
    if !target.word.ask(generation, flags) {
        return false;
    }
    // SAFETY: records are never unmapped; this one was the target's a moment ago, and a spurious request is harmless.
    if let Some(record) = unsafe { record.as_ref() } {
        if flags & (KILLED | TRACE) != 0 {
            // SeqCst, after the target's word, before the request: who sees the request sees this, and who sees this, what is asked of the target.
            record.asked_for_more.swap(true, Ordering::SeqCst);
        }
        record.ask(record.request.generation(), TARGETS);
    }
    true
}

/// Whether the coroutine or state with this id still exists.
pub fn exists(id: u64) -> bool {
    find(id).is_some()
}

fn find(id: u64) -> Option<(&'static Target, u64)> {
    let index = usize::try_from(id >> NONCE_BITS).ok()?;
    let target = TARGETS_SLAB.at(index)?;
    let generation = target.word.generation();
    // A target that serves nobody has nonce 0, which no id has.
    (id & NONCE != 0 && generation & NONCE == id & NONCE).then_some((target, generation))
}

/// Where the answer to [`TRACE`] comes; none: the id is unknown.
pub fn trace_of(id: u64) -> Option<&'static Said> {
    find(id).map(|(target, _)| &target.trace)
}

/// Gives a coroutine of `record`'s state a target. None if there are 8 million already.
pub fn take(record: &'static Record) -> Option<&'static Target> {
    let place = TARGETS_SLAB.take();
    if place.index() >= MOST {
        place.give_back();
        return None;
    }
    let target = place.get();
    target.said.put(None);
    target.trace.put(None);
    target
        .record
        .store(ptr::from_ref(record).cast_mut(), Ordering::Release);
    let uses = target.word.generation() >> NONCE_BITS;
    let nonce = nonce(place.index(), uses);
    let _ = target.place.set(place);
    target.word.renew_with(NONCE_BITS, nonce);
    Some(target)
}

/// The nonce of a use of a place, never zero. `uses` has 25 bits.
fn nonce(place: usize, uses: u64) -> u64 {
    // One use is enciphered to zero: a number that no use has stands in for it.
    match encipher(place, uses) {
        0 => encipher(place, 1 << (NONCE_BITS - 1) | uses),
        nonce => nonce,
    }
}

/// A permutation of the numbers of 30 bits, another one for each place: a Feistel network, the rounds of which are SipHash.
fn encipher(place: usize, number: u64) -> u64 {
    const HALF: u32 = NONCE_BITS / 2;
    const MASK: u64 = (1 << HALF) - 1;
    let key = key();
    let (mut left, mut right) = (number >> HALF & MASK, number & MASK);
    for round in 0..4u8 {
        let mixed = left ^ key.hash_one((round, place, right)) & MASK;
        (left, right) = (right, mixed);
    }
    left << HALF | right
}

/// The key of this process. (Not a `OnceLock`, for which the child of a fork would wait for ever if another thread was just filling it.)
fn key() -> &'static RandomState {
    static KEY: AtomicPtr<RandomState> = AtomicPtr::new(ptr::null_mut());
    // Acquire and Release: who finds it reads all of it.
    let key = KEY.load(Ordering::Acquire);
    // SAFETY: null, or one that stays.
    if let Some(key) = unsafe { key.as_ref() } {
        return key;
    }
    let new = Box::into_raw(Box::default());
    match KEY.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Acquire) {
        // SAFETY: ours, and it stays.
        Ok(_) => unsafe { &*new },
        Err(first) => {
            // SAFETY: nobody else has seen ours; the first one stays.
            unsafe {
                drop(Box::from_raw(new));
                &*first
            }
        }
    }
}

/// The coroutine is gone, and its id unknown from now on.
pub fn release(target: &'static Target) {
    target.word.renew_with(NONCE_BITS, 0);
    if let Some(place) = target.place.get() {
        place.give_back();
    }
}

/// The id of a target that is in use.
pub fn id(target: &'static Target) -> u64 {
    let index = target.place.get().map_or(MOST, |p| p.index());
    (index as u64) << NONCE_BITS | target.word.generation() & NONCE
}

impl Target {
    /// What is asked for. **Signal context.**
    pub fn flags(&self) -> u64 {
        self.word.flags()
    }

    /// The handler is about to be called: one request is answered. True if it is to be called at all.
    pub fn answer_once(&self) -> bool {
        self.word.answer(ONCE) & (ONCE | ALWAYS) != 0
    }

    /// Whether this was asked; it is answered now.
    pub fn answer(&self, flag: u64) -> bool {
        self.word.answer(flag) & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_use_of_a_place_has_the_nonce_of_another() {
        for place in [0, 1, MOST - 1] {
            let seen: HashSet<u64> = (0..200_000).map(|uses| nonce(place, uses)).collect();
            assert_eq!(seen.len(), 200_000);
            assert!(seen.iter().all(|n| (1..=NONCE).contains(n)));
            // Neighbours say nothing of each other: about half of the bits differ.
            let apart = (0..10_000).map(|n| (nonce(place, n) ^ nonce(place, n + 1)).count_ones());
            let mean = f64::from(apart.sum::<u32>()) / 10_000.0;
            assert!((14.0..16.0).contains(&mean), "{mean}");
        }
    }
}
