//! Slots by the thousand, whose memory stays.
//!
//! The timer thread reads every slot at each of its wake-ups, and owners come and go meanwhile. If memory were ever given
//! back, each of them would have to prove that the other has finished. So it is not: the slab only grows, in chunks that
//! double in size and never move, and a slot that is given back waits in a free list for the next owner.
//!
//! The deadlines of a chunk lie next to each other, eight to a cache line: a scan of 10,000 slots reads 80 kB in sequence.
//!
//! What must always be true:
//!
//! 1. A slot below `used` has its chunk: the chunk is published before `used` grows over it.
//! 2. A slot is in the free list at most once, and nobody owns it then.
//! 3. `used` grows before the new slot is armed; so a scan that misses the slot is one that its `arm` will find (`sleep`).
//!
//! What could go wrong: the free list is a stack whose head changes by compare-exchange, and between the look at the head
//! and the exchange the same slot may leave and come back with another successor (ABA). The head therefore
//! carries a count of its changes. It has 32 bits: to be fooled, a thread must sleep through exactly a multiple of
//! four thousand million changes. A thread that dies in a fork between two steps costs one slot, never consistency.
//!
//! What was rejected: finding a free slot by a search (10,000 alarms would take 50 million looks to make), and
//! hazard pointers or epochs (machinery to give back memory that the next peak needs again).

use crate::slot::{Cell, NEVER, Slot};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, FIRST_CHUNK, Ordering};
use std::ptr;

/// 64 slots in the first chunk, and each next one has twice as many: a thousand million in all.
const CHUNKS: usize = 24;
/// How many slots there can be.
const CAPACITY: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

struct Chunk<T> {
    at: Box<[AtomicU64]>,
    cells: Box<[Cell<T>]>,
}

impl<T> Chunk<T> {
    fn new(size: u32) -> Chunk<T> {
        Chunk {
            at: (0..size).map(|_| AtomicU64::new(NEVER)).collect(),
            cells: (0..size).map(|_| Cell::new()).collect(),
        }
    }
}

/// See the header.
pub(crate) struct Slab<T: 'static> {
    chunks: [AtomicPtr<Chunk<T>>; CHUNKS],
    /// How many slots were ever handed out.
    used: AtomicU32,
    /// The free list: number of changes in the upper half, index of the first slot plus one in the lower.
    free: AtomicU64,
}

/// Where slot `index` is: its chunk, and its place in it.
fn locate(index: u32) -> (usize, usize) {
    let chunk = (index / FIRST_CHUNK + 1).ilog2();
    let before = FIRST_CHUNK * ((1 << chunk) - 1);
    (chunk as usize, (index - before) as usize)
}

fn size_of_chunk(chunk: usize) -> u32 {
    FIRST_CHUNK << chunk
}

impl<T: 'static> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
        }
    }

    /// A vacant slot, the caller's alone; `None` when there are a thousand million already.
    pub(crate) fn take(&self) -> Option<Slot<T>> {
        self.pop().or_else(|| self.grow())
    }

    /// Takes back a slot that is vacant and the caller's alone.
    pub(crate) fn recycle(&self, slot: Slot<T>) {
        // Relaxed: the exchange decides whether what we saw still holds.
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the Release of the exchange.
            slot.cell.next_free.store(head as u32, Ordering::Relaxed);
            // Release: pairs with the Acquire in `pop`, which hands on the link and the emptied slot. Exchanges by others
            // in between do not break the release sequence.
            match self.free.compare_exchange(
                head,
                changed(head, slot.index + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn pop(&self) -> Option<Slot<T>> {
        // Acquire: the link of the slot at the head was written before the head.
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)?;
            let slot = self.slot(index);
            // Relaxed: if the slot has left the list since, this is some other number, and the exchange fails by the count.
            let next = slot.cell.next_free.load(Ordering::Relaxed);
            // Acquire: see `recycle`.
            match self.free.compare_exchange(
                head,
                changed(head, next),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(slot),
                Err(now) => head = now,
            }
        }
    }

    fn grow(&self) -> Option<Slot<T>> {
        // Acquire, here and in the exchange: who sees a `used` sees the chunks below it (rule 1).
        let mut used = self.used.load(Ordering::Acquire);
        loop {
            if used >= CAPACITY {
                return None;
            }
            self.ensure_chunk(locate(used).0);
            // Release: rule 1.
            match self
                .used
                .compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(self.slot(used)),
                Err(now) => used = now,
            }
        }
    }

    fn ensure_chunk(&self, chunk: usize) {
        let place = &self.chunks[chunk];
        // Acquire: whoever published it had built it.
        if !place.load(Ordering::Acquire).is_null() {
            return;
        }
        let new = Box::into_raw(Box::new(Chunk::new(size_of_chunk(chunk))));
        // Release: publishes the contents. Acquire on failure: as above.
        if place
            .compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: another thread was first, so `new` was never published and is ours.
            drop(unsafe { Box::from_raw(new) });
        }
    }

    fn chunk(&self, chunk: usize) -> &'static Chunk<T> {
        // Acquire: the contents were built before the pointer was published.
        let p = self.chunks[chunk].load(Ordering::Acquire);
        assert!(!p.is_null(), "a slot below `used` has its chunk");
        // SAFETY: it came from Box::into_raw and is never freed once published.
        unsafe { &*p }
    }

    fn slot(&self, index: u32) -> Slot<T> {
        let (chunk, place) = locate(index);
        let chunk = self.chunk(chunk);
        Slot {
            index,
            at: &chunk.at[place],
            cell: &chunk.cells[place],
        }
    }

    /// Calls `f` for each slot whose deadline is `limit` or earlier, and returns the earliest of all others and of what
    /// `f` returned.
    ///
    /// The loop over the deadlines is the hot one: a load, two comparisons.
    pub(crate) fn scan(&self, limit: u64, mut f: impl FnMut(Slot<T>, u64) -> u64) -> u64 {
        // Acquire: rule 1. Which slots are seen is decided by the fence of `Sleep::begin`.
        let mut left = self.used.load(Ordering::Acquire);
        let (mut first, mut next) = (0, NEVER);
        for chunk in 0..CHUNKS {
            if left == 0 {
                break;
            }
            let size = size_of_chunk(chunk);
            let chunk = self.chunk(chunk);
            for (place, at) in chunk.at[..left.min(size) as usize].iter().enumerate() {
                // Relaxed: only a hint where to look; the claim in `Slot::fire` synchronises.
                let seen = at.load(Ordering::Relaxed);
                let then = if seen > limit {
                    seen
                } else {
                    f(
                        Slot {
                            index: first + place as u32,
                            at,
                            cell: &chunk.cells[place],
                        },
                        seen,
                    )
                };
                next = next.min(then);
            }
            left = left.saturating_sub(size);
            first += size;
        }
        next
    }
}

/// The head of the free list after one more change.
fn changed(head: u64, first: u32) -> u64 {
    let changes = (head >> 32).wrapping_add(1);
    changes << 32 | u64::from(first)
}
