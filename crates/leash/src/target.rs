//! Interrupting one coroutine by an integer.
//!
//! An id can be passed anywhere: to another OS thread, through a message queue, into another Lua state. It names a *target*: a word
//! in memory that is never unmapped ([`crate::slab`]), which belongs to one coroutine until that is collected or its state is closed.
//! From then on the id is unknown: the word serves another coroutine with another generation, and the odds that this
//! one has the same id are one in 2^30.
//!
//! An id is `place << 30 | nonce`, below 2^53 so that a Lua number holds it. The nonce is random, so that an id cannot be guessed from
//! another one; it is the low part of the generation, so that one word decides whether an id is alive and takes the request.
//!
//! A request here is not a stop: the coroutine's hook calls what the state has registered ([`crate::Guest::on_interrupt`]), which
//! may raise, or return and let the coroutine go on.

use crate::record::Record;
use crate::request::{Request, TARGETS};
use crate::slab::{Place, Slab};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Call the handler once.
pub const ONCE: u64 = 1;
/// Call the handler at every operation.
pub const ALWAYS: u64 = 2;

const NONCE_BITS: u32 = 30;
const NONCE: u64 = (1 << NONCE_BITS) - 1;
/// Places that an id can name: 2^23.
const MOST: usize = 1 << 23;

static TARGETS_SLAB: Slab<Target> = Slab::new();

/// See the module's header.
#[derive(Default)]
pub struct Target {
    word: Request,
    record: AtomicPtr<Record>,
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
    let Some((target, generation)) = find(id) else {
        return false;
    };
    // Acquire: pairs with `take`. Read before the word is changed: if the word still has our generation then, so had this.
    let record = target.record.load(Ordering::Acquire);
    let flags = match how {
        How::Once => ONCE,
        How::Always => ALWAYS,
        How::NoMore => {
            let alive = target.word.ask(generation, 0);
            if alive {
                target.word.answer(ONCE | ALWAYS);
            }
            return alive;
        }
    };
    if !target.word.ask(generation, flags) {
        return false;
    }
    // SAFETY: records are never unmapped; this one was the target's a moment ago, and a spurious request is harmless.
    if let Some(record) = unsafe { record.as_ref() } {
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

/// Gives a coroutine of `record`'s state a target. None if there are 8 million already.
pub fn take(record: &'static Record) -> Option<&'static Target> {
    let place = TARGETS_SLAB.take();
    if place.index() >= MOST {
        place.give_back();
        return None;
    }
    let target = place.get();
    target
        .record
        .store(ptr::from_ref(record).cast_mut(), Ordering::Release);
    let nonce = loop {
        let n = RandomState::new().build_hasher().finish() & NONCE;
        if n != 0 {
            break n;
        }
    };
    let _ = target.place.set(place);
    target.word.renew_with(NONCE_BITS, nonce);
    Some(target)
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
        self.word.answer(ONCE) != 0
    }
}
