//! All deadlines together: arming them, and finding those that have come.
//!
//! This file joins the slots (`slab`, `slot`) to the sleep of the timer thread (`sleep`) and holds no protocol of its own
//! but their order: a deadline is stored before the sleep is asked, and the sleep is told before the deadlines are
//! looked at. It is generic over the payload and knows no clock, so that loom can run it.
//!
//! What must always be true: `round` runs on one thread at a time. The slots rely on it (only the timer claims).
//!
//! What was rejected: a heap or a wheel. Both make arming, the thing that happens at every call into Lua, a change of a shared
//! structure; here it is one store to a word of its own. The price is paid by the timer thread, a few microseconds for
//! 10,000 slots, and only when something is due.

use crate::slab::Slab;
use crate::sleep::Sleep;
use crate::slot::{Fired, NEVER, Payload, Slot};

/// See the header.
pub(crate) struct Schedule<T: 'static> {
    slab: Slab<T>,
    sleep: Sleep,
}

impl<T: Payload + Send + Sync + 'static> Schedule<T> {
    pub(crate) fn new() -> Schedule<T> {
        Schedule {
            slab: Slab::new(),
            sleep: Sleep::new(),
        }
    }

    /// A slot of its own for `payload`, not armed. `None` when there is no room.
    pub(crate) fn insert(&self, payload: T) -> Option<Slot<T>> {
        let slot = self.slab.take()?;
        slot.fill(payload);
        Some(slot)
    }

    /// Gives the slot back. The payload comes back too, unless the timer is in it: then the timer ends it.
    pub(crate) fn remove(&self, slot: Slot<T>) -> Option<T> {
        let payload = slot.give_up();
        if payload.is_some() {
            self.slab.recycle(slot);
        }
        payload
    }

    /// Sets the deadline. True if the timer had to be told, because it would have slept longer.
    pub(crate) fn arm(&self, slot: Slot<T>, at: u64) -> bool {
        slot.set(at);
        self.sleep.armed(at)
    }

    /// No deadline. The timer may wake for the old one once, and finds nothing.
    pub(crate) fn disarm(&self, slot: Slot<T>) {
        slot.set(NEVER);
    }

    /// Timer thread: calls everything whose deadline has come by `now`, and returns the earliest deadline of the rest.
    pub(crate) fn round(&self, now: u64) -> u64 {
        self.sleep.begin();
        self.slab
            .scan(now, |slot, seen| match slot.fire(seen, now) {
                Fired::Next(next) => next,
                Fired::Vacated(payload) => {
                    self.slab.recycle(slot);
                    if let Some(payload) = payload {
                        payload.discard();
                    }
                    NEVER
                }
            })
    }

    /// Timer thread: sleeps until `earliest`, or until an earlier deadline that was armed since `round` began.
    pub(crate) fn sleep(&self, earliest: u64, now: impl Fn() -> u64) {
        self.sleep.sleep(earliest, now);
    }

    /// In the child of a fork(), on its only thread, which is not the timer. True if a timer is needed at once.
    pub(crate) fn renew_in_child(&self) -> bool {
        self.sleep.renew_in_child();
        let mut needed = false;
        // Every deadline is looked at, NEVER included: a slot may be claimed and disarmed.
        self.slab.scan(NEVER, |slot, _| {
            needed |= slot.renew_in_child();
            NEVER
        });
        needed
    }

    /// In the child of a fork() that the timer thread itself called, from a callback: goes on, and looks again soon.
    pub(crate) fn look_again(&self) {
        self.sleep.look_again();
    }
}
