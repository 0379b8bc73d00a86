//! Records that are never unmapped, and the bits that say which of them want attention.
//!
//! A signal handler that looks for work must find it without a lock, and what it finds must still be memory when it reads it,
//! whatever other threads do meanwhile. So records live in chunks that are allocated once and kept for the life of the process;
//! a record that is given back is used again for another state, with a new generation ([`crate::request`]).
//!
//! Each chunk of 64 has two words: `used`, which records are taken, and `pending`, which of them have an unanswered request. The
//! handler reads one word for 64 states: with 10,000 states 157 words.
//!
//! Always true: a chunk, once linked, stays linked and mapped; `next` is set once. A bit of `pending` may be set although the
//! request has been answered meanwhile (a look too many), but it is never clear while a request is unanswered for good: who asks
//! sets the request, then the bit; who answers clears the bit, then the request. (And the timer thread, which asks again, sets
//! it again.)

use crate::sync::{AtomicPtr, AtomicU64, CHUNK, Ordering};
use std::ptr;

/// See the module's header.
pub struct Chunk<T> {
    used: AtomicU64,
    pending: AtomicU64,
    next: AtomicPtr<Chunk<T>>,
    /// The number of its first record.
    first: usize,
    items: [T; CHUNK],
}

/// A list of chunks.
pub struct Slab<T: 'static> {
    first: AtomicPtr<Chunk<T>>,
}

/// A place in the slab: the record, and its two bits.
pub struct Place<T: 'static> {
    /// The record itself, which is asked for more often than anything else.
    item: &'static T,
    chunk: &'static Chunk<T>,
    bit: u32,
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Place<T> {}

impl<T: Default + Sync> Slab<T> {
    /// An empty slab, over a null pointer; an argument because loom's atomics cannot be made in a constant.
    pub const fn over(first: AtomicPtr<Chunk<T>>) -> Slab<T> {
        Slab { first }
    }

    /// Takes a free record. Lock-free; allocates a chunk when all are taken.
    pub fn take(&'static self) -> Place<T> {
        let mut link = &self.first;
        let mut first = 0;
        loop {
            // Acquire: pairs with the Release that linked the chunk, so that its records are seen initialised.
            let p = link.load(Ordering::Acquire);
            let chunk: &'static Chunk<T> = if p.is_null() {
                Self::grow(link, first)
            } else {
                // SAFETY: a linked chunk is a leaked box, never freed.
                unsafe { &*p }
            };
            // Acquire on success: the last user's writes to the record, released by `give_back`, are seen.
            let mut used = chunk.used.load(Ordering::Relaxed);
            while used.trailing_ones() < CHUNK as u32 {
                let bit = used.trailing_ones();
                match chunk.used.compare_exchange_weak(
                    used,
                    used | 1 << bit,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        let item = &chunk.items[bit as usize];
                        return Place { item, chunk, bit };
                    }
                    Err(now) => used = now,
                }
            }
            link = &chunk.next;
            first += CHUNK;
        }
    }

    /// Links a new chunk at `link`, or returns the one that another thread has linked first.
    fn grow(link: &AtomicPtr<Chunk<T>>, first: usize) -> &'static Chunk<T> {
        let new = Box::into_raw(Box::new(Chunk {
            used: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            first,
            items: std::array::from_fn(|_| T::default()),
        }));
        // Release: publishes the records. Acquire on failure: the other thread's.
        match link.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Acquire) {
            // SAFETY: leaked by us, linked for ever.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: `new` was never shared; `other` is linked for ever.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }

    /// The record of this number, whether it is taken or not; none if there never was one.
    pub fn at(&'static self, index: usize) -> Option<&'static T> {
        let mut p = self.first.load(Ordering::Acquire);
        for _ in 0..index / CHUNK {
            if p.is_null() {
                return None;
            }
            // SAFETY: linked chunks are never freed.
            p = unsafe { &*p }.next.load(Ordering::Acquire);
        }
        // SAFETY: as above.
        unsafe { p.as_ref() }.map(|chunk| &chunk.items[index % CHUNK])
    }

    /// Calls `f` for each record whose pending bit is set. **Signal context**: loads only.
    pub fn for_each_pending(&'static self, mut f: impl FnMut(&'static T)) {
        let mut p = self.first.load(Ordering::Acquire);
        while !p.is_null() {
            // SAFETY: linked chunks are never freed.
            let chunk: &'static Chunk<T> = unsafe { &*p };
            // Acquire: the request that was stored before the bit is seen.
            let mut bits = chunk.pending.load(Ordering::Acquire);
            while bits != 0 {
                f(&chunk.items[bits.trailing_zeros() as usize]);
                bits &= bits - 1;
            }
            p = chunk.next.load(Ordering::Acquire);
        }
    }

    /// Calls `f` for each record that is taken. **Signal context**: loads only.
    pub fn for_each_used(&'static self, mut f: impl FnMut(&'static T)) {
        let mut p = self.first.load(Ordering::Acquire);
        while !p.is_null() {
            // SAFETY: as above.
            let chunk: &'static Chunk<T> = unsafe { &*p };
            let mut bits = chunk.used.load(Ordering::Acquire);
            while bits != 0 {
                f(&chunk.items[bits.trailing_zeros() as usize]);
                bits &= bits - 1;
            }
            p = chunk.next.load(Ordering::Acquire);
        }
    }
}

impl<T> Place<T> {
    /// The number of this place: by [`Slab::at`] the record is found again.
    pub fn index(self) -> usize {
        self.chunk.first + self.bit as usize
    }

    /// The record.
    pub fn get(self) -> &'static T {
        self.item
    }

    /// Marks the record for the handler. The request has been stored before.
    pub fn set_pending(self) {
        // Release: the request is seen by whoever sees the bit.
        self.chunk
            .pending
            .fetch_or(1 << self.bit, Ordering::Release);
    }

    /// Whether it is marked.
    pub fn is_pending(self) -> bool {
        self.chunk.pending.load(Ordering::Relaxed) & 1 << self.bit != 0
    }

    /// The request is about to be answered.
    pub fn clear_pending(self) {
        // Relaxed: a bit that is set just now may stay, and then a handler finds a record for which nothing is asked.
        if !self.is_pending() {
            return;
        }
        // Release: what was done for the request is not moved behind. Acquire: who looks afterwards whether anything is asked for sees the request of whoever set the bit.
        self.chunk
            .pending
            .fetch_and(!(1 << self.bit), Ordering::AcqRel);
    }

    /// Gives the record back. The caller does not use it afterwards.
    pub fn give_back(self) {
        self.clear_pending();
        // Release: pairs with `take`.
        self.chunk
            .used
            .fetch_and(!(1 << self.bit), Ordering::Release);
    }
}
