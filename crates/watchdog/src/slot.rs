//! The life of one slot: who may touch what is in it, and when.
//!
//! A slot is a deadline (`at`) and a payload (what to call then). Its owner, an `Alarm`, sets the deadline from any
//! thread; the timer thread, and only that one, calls the payload. They meet without a lock through two words:
//!
//! ```text
//!           fill                claim                       owner gives up during the call
//!   VACANT ------> LIVE <=====================> BUSY ------------------------> ORPHAN
//!     ^             |          release           (timer is calling)              |
//!     |  give_up    |                                                            | timer: release
//!     +-------------+------------------------------------------------------------+
//!
//!   at:  NEVER | a deadline | IN_CALL     claim: deadline -> IN_CALL,   put back: IN_CALL -> next deadline
//! ```
//!
//! What must always be true:
//!
//! 1. The payload is written and taken only by whoever has the slot to himself: the thread that fills a vacant slot,
//!    the owner whose exchange made LIVE into VACANT, the timer that found its BUSY turned into ORPHAN.
//! 2. The payload is called only between `claim` and `release`, while the state is BUSY or ORPHAN.
//! 3. `IN_CALL` is written by the timer only while it has the claim. So a put-back that finds `IN_CALL` knows that nobody
//!    armed or disarmed during the call; if it finds `NEVER`, somebody disarmed, and that stands; if it finds a deadline,
//!    somebody armed, and the earlier of the two is taken: `due` may have looked at the world before that thread changed it.
//! 4. A deadline of a former owner never makes the timer call the payload of the next one: the slot is claimed first, and
//!    then `at` must still hold what the scan saw.
//!
//! What could go wrong: a process forks while the timer is in a call. Its child has no timer thread, and a slot that is
//! BUSY for ever. `renew_in_child` finds the mark and makes the slot due at once.
//!
//! What was rejected: putting back by a plain `fetch_min` without the `IN_CALL` mark. It is shorter, but a disarm during
//! the call is then undone. One word for state and deadline: it makes arming a loop instead of a store.

use crate::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell, overwrite};

/// `at`: not armed.
pub(crate) const NEVER: u64 = u64::MAX;
/// `at`: the timer is calling the payload, and nobody has armed or disarmed since.
const IN_CALL: u64 = u64::MAX - 1;

/// Nobody's: in the free list, or between two hands.
const VACANT: u32 = 0;
/// Has an owner, and the timer may claim it.
const LIVE: u32 = 1;
/// The timer is calling the payload.
const BUSY: u32 = 2;
/// The timer is calling the payload and its owner has gone: the timer clears up.
const ORPHAN: u32 = 3;

/// What the timer thread does with what is in a slot.
pub(crate) trait Payload {
    /// Acts, and says when to be called next. Must not panic.
    fn due(&self, now: u64) -> u64;
    /// Ends the payload on the timer thread. Must not panic.
    fn discard(self);
}

/// All of a slot but its deadline: deadlines lie next to each other, since a scan reads nothing else.
pub(crate) struct Cell<T> {
    state: AtomicU32,
    /// The free list's link; belongs to `slab`.
    pub(crate) next_free: AtomicU32,
    payload: UnsafeCell<Option<T>>,
}

// SAFETY: the payload is shared with the timer thread during a call (`T: Sync`) and may be dropped there (`T: Send`);
// rule 1 of the header keeps everyone else away from it meanwhile.
unsafe impl<T: Send + Sync> Sync for Cell<T> {}

impl<T> Cell<T> {
    pub(crate) fn new() -> Cell<T> {
        Cell {
            state: AtomicU32::new(VACANT),
            next_free: AtomicU32::new(0),
            payload: UnsafeCell::new(None),
        }
    }
}

/// A place in the slab. Its memory is never given back, hence `'static`.
pub(crate) struct Slot<T: 'static> {
    pub(crate) index: u32,
    pub(crate) at: &'static AtomicU64,
    pub(crate) cell: &'static Cell<T>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        *self
    }
}

impl<T> Copy for Slot<T> {}

/// What became of a slot whose deadline had come.
pub(crate) enum Fired<T> {
    /// It is still its owner's, and armed for then.
    Next(u64),
    /// Its owner has gone: the slot is vacant, and here is what was in it (nothing if a timer thread that a fork left
    /// behind had already taken it).
    Vacated(Option<T>),
}

impl<T> Slot<T> {
    /// Puts a payload into a vacant slot that the caller has to himself.
    pub(crate) fn fill(&self, payload: T) {
        self.cell.payload.with_mut(|p| {
            // SAFETY: the slot is VACANT, and the slab gave it to this caller only (rule 1).
            unsafe { *p = Some(payload) }
        });
        // Release: the claim that sees LIVE sees the payload. Relaxed would do, since a slot is only claimed for a deadline
        // that was set after this, and `set` releases; but the state should not rely on that.
        self.cell.state.store(LIVE, Ordering::Release);
    }

    /// Sets the deadline. Release: the timer that claims this deadline also sees what was written before it was set.
    pub(crate) fn set(&self, at: u64) {
        let at = if at >= IN_CALL { NEVER } else { at };
        overwrite(self.at, at, Ordering::Release);
    }

    /// The owner lets go. `Some`: the slot is vacant now, the caller recycles it and drops the payload. `None`: the timer
    /// is calling the payload at this moment, and will do both.
    pub(crate) fn give_up(&self) -> Option<T> {
        loop {
            // Acquire: pairs with the Release in `release`, so that the timer's last call is over before we take the payload.
            match self.cell.state.compare_exchange(
                LIVE,
                VACANT,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return self.vacate(),
                // Release: what the owner did with the payload comes before the timer drops it.
                Err(_) => {
                    match self.cell.state.compare_exchange(
                        BUSY,
                        ORPHAN,
                        Ordering::Release,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => return None,
                        // The call began or ended between the two looks.
                        Err(_) => continue,
                    }
                }
            }
        }
    }

    /// Timer thread: the scan saw the deadline `seen`, and it has come. Calls the payload, unless things have changed.
    pub(crate) fn fire(&self, seen: u64, now: u64) -> Fired<T>
    where
        T: Payload,
    {
        // Acquire: pairs with `fill` (the payload) and with `give_up` (an orphan's owner is done with it).
        match self
            .cell
            .state
            .compare_exchange(LIVE, BUSY, Ordering::Acquire, Ordering::Acquire)
        {
            Ok(_) => {}
            // Only in a child of fork(): the timer that was to clear up is not there.
            Err(ORPHAN) => return Fired::Vacated(self.vacate()),
            // Given up since the scan saw it. If it has a new owner, that one's `arm` tells us (see `sleep`).
            Err(_) => return Fired::Next(NEVER),
        }
        // Acquire: pairs with `set`. Fails if somebody armed or disarmed since; what he wrote is then looked at afresh.
        if self
            .at
            .compare_exchange(seen, IN_CALL, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
        {
            let next = self.cell.payload.with(|p| {
                // SAFETY: the state is BUSY, or ORPHAN by now: nobody writes or takes the payload (rules 1 and 2).
                match unsafe { &*p } {
                    Some(payload) => payload.due(now),
                    None => NEVER,
                }
            });
            self.put_back(next);
        }
        self.release()
    }

    /// The end of a call that asked for `next` (rule 3 of the header).
    fn put_back(&self, next: u64) {
        let next = if next >= IN_CALL { NEVER } else { next };
        // Relaxed: a read-modify-write keeps the release sequence of an arm that it replaces, so the claim of the result
        // still synchronises with that arm; what the timer itself wrote is read by the timer.
        let _ = self
            .at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| match at {
                IN_CALL => Some(next),
                NEVER => None,
                armed => (next < armed).then_some(next),
            });
    }

    /// Ends the claim.
    fn release(&self) -> Fired<T> {
        // Release: the owner that gives up after this sees the call as over. Acquire on failure: pairs with `give_up`.
        match self
            .cell
            .state
            .compare_exchange(BUSY, LIVE, Ordering::Release, Ordering::Acquire)
        {
            // Relaxed: as in a scan; a store that is not seen here belongs to an `arm` that tells us.
            Ok(_) => Fired::Next(self.at.load(Ordering::Relaxed)),
            Err(_) => Fired::Vacated(self.vacate()),
        }
    }

    /// Empties a slot that the caller has to himself. It must be recycled before anyone can fill it again.
    fn vacate(&self) -> Option<T> {
        // Relaxed, both: the free list's Release hands them on to the next owner.
        self.at.store(NEVER, Ordering::Relaxed);
        let payload = self.cell.payload.with_mut(|p| {
            // SAFETY: LIVE became VACANT by our hand, or we are the timer and the slot is ORPHAN (rule 1).
            unsafe { (*p).take() }
        });
        self.cell.state.store(VACANT, Ordering::Relaxed);
        payload
    }

    /// In the child of a fork(), on its only thread: undoes the claim of the timer that was left behind. True if the slot
    /// needs a timer.
    ///
    /// The call that was under way in the parent may not have done in this process what it was to do, so the slot is due
    /// at once, unless it was disarmed during the call.
    pub(crate) fn renew_in_child(&self) -> bool {
        // Relaxed throughout: there is one thread, and the one we may start is started after.
        match self.cell.state.load(Ordering::Relaxed) {
            BUSY => {
                if self.at.load(Ordering::Relaxed) != NEVER {
                    self.at.store(0, Ordering::Relaxed);
                }
                self.cell.state.store(LIVE, Ordering::Relaxed);
            }
            // `fire` will find it and clear up.
            ORPHAN => self.at.store(0, Ordering::Relaxed),
            // The timer was claiming it: a fork does not copy all of the memory at one moment.
            LIVE if self.at.load(Ordering::Relaxed) == IN_CALL => {
                self.at.store(0, Ordering::Relaxed);
            }
            LIVE => {}
            // Between two hands, of which none came along: the slot is lost, and its deadline must not count.
            _ => self.at.store(NEVER, Ordering::Relaxed),
        }
        self.at.load(Ordering::Relaxed) != NEVER
    }
}
