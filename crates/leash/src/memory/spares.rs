//! Small blocks that Lua has given back, kept for its next requests of the same size.
//!
//! The wrapped allocator ([`crate::alloc`]) costs a few nanoseconds for each block, and the timer thread costs more: from the second thread of a process on, `malloc` takes a
//! lock wherever its cache of seven blocks for each size does not do. Code that does nothing but allocate was up to half slower for it. A state runs on one thread at a
//! time, so it needs no lock for blocks of its own: what it gives back goes on a list for its size, and most requests are served from there.
//!
//! **Each block is the host's**, of the size that it was asked for, and goes back to it with that size: so it does not matter which of them the host made before the attach, what it makes
//! of sizes, or when its allocator is put back. What is kept is given back then ([`crate::memory`]), when the state is closed, and when the host has no more.
//!
//! **How much is kept**: at most twice what is in use, and under a memory limit no more than is left of that. Lua's collector begins when what is in use has doubled, so what it
//! then frees may be kept, and is just what is asked for until the next time. Beyond that, for each block that comes two of its size are given back, and now and then one
//! of another, for scripts do one thing and then another; for a large one so many as are as large. So a state that shrinks keeps less with each block that it frees. What is kept does not count as in use.
//!
//! **LuaJIT** brings its own allocator, one for each state, which takes no lock and puts neighbouring blocks together again. What is kept here stays scattered as it was given back: where all of that was kept, a
//! program that makes large trees and drops them took 2.3 times as long as without Leash. A quarter of a megabyte ([`MOST_KEPT`]) is as good for what is thrown away at once, and what comes beyond it goes where it came from.
//!
//! **While an error of ours is on its way** all small blocks are kept, and nothing is given back: from 5.3 on each protected call that ends frees half of the calls that the coroutine is in no longer,
//! up to 200,000 where its stack has overflowed, and no hook runs meanwhile. To give each back to the host, and two more for it, took most of the 50 ms by which such a finalizer was stopped
//! too late. So there may be more than twice what is in use, until the blocks that come afterwards have had it given back. A memory limit holds for both together, as ever.
//!
//! **Sanitizers** look for the use of what has been freed, which this would hide: a build with `--cfg leash_no_spares` keeps nothing (`cargo xtask sanitize`, `cargo fuzz`).

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// The sizes that are kept, in bytes: tables, closures, short strings, small arrays. A block holds the address of the next.
const LEAST: usize = size_of::<*mut c_void>();
const MOST: usize = 256;

/// Where too many are kept: for so many blocks of the sizes that come, one of another is given back.
const TURN: usize = 8;

/// More than is ever in use.
const CLOSED: usize = usize::MAX / 2;

/// No more is kept than this, in bytes.
const MOST_KEPT: usize = if cfg!(feature = "luajit") {
    256 << 10
} else {
    CLOSED
};

/// Has the processor fetch what the next request of this size will read. Nothing is read: any address will do.
#[inline(always)]
fn fetch(block: *const c_void) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(block.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = block;
}

/// See the module's header.
pub struct Spares {
    /// For each size the last block that was kept; in its first word is the one before.
    heads: [Cell<*mut c_void>; MOST + 1],
    /// Bytes; or [`CLOSED`].
    kept: Cell<usize>,
    /// The size that is given back next, whatever comes.
    stale: Cell<usize>,
    /// See [`TURN`].
    turn: Cell<usize>,
}

impl Spares {
    /// None. Unless it `keeps` any, it never will.
    pub fn new(keeps: bool) -> Spares {
        Spares {
            heads: [const { Cell::new(ptr::null_mut()) }; MOST + 1],
            kept: Cell::new(if keeps { 0 } else { CLOSED }),
            stale: Cell::new(LEAST),
            turn: Cell::new(0),
        }
    }

    /// Whether blocks of this size are kept.
    #[inline(always)]
    pub fn are_for(size: usize) -> bool {
        size.wrapping_sub(LEAST) <= MOST - LEAST
    }

    /// Keeps a block, of a state in which `used` bytes are in use; false: too many are kept already.
    ///
    /// # Safety
    /// Nobody uses the block, of `size` bytes, which are [for](Self::are_for) this.
    #[inline(always)]
    pub unsafe fn keep(&self, block: *mut c_void, size: usize, used: usize) -> bool {
        // Elsewhere the second is no question, and this is asked for each block.
        if self.are_many(used) || cfg!(feature = "luajit") && self.kept.get() >= MOST_KEPT {
            return false;
        }
        // SAFETY: by the caller.
        unsafe { self.put(block, size) };
        true
    }

    /// Keeps a block, however much is in use; false: nothing is kept any more, or what may be is.
    ///
    /// # Safety
    /// As [`keep`](Self::keep).
    pub unsafe fn keep_one_more(&self, block: *mut c_void, size: usize) -> bool {
        if self.kept.get() >= MOST_KEPT {
            return false;
        }
        // SAFETY: by the caller.
        unsafe { self.put(block, size) };
        true
    }

    /// Puts a block on the list for its size.
    ///
    /// # Safety
    /// As [`keep`](Self::keep).
    #[inline(always)]
    unsafe fn put(&self, block: *mut c_void, size: usize) {
        self.kept.set(self.kept.get() + size);
        // SAFETY: by the caller; at least a word. (What an allocator aligns is its own affair.)
        unsafe {
            let head = self.heads.get_unchecked(size);
            block.cast::<*mut c_void>().write_unaligned(head.get());
            head.set(block);
        }
    }

    /// A block of this size; null: none is kept.
    #[inline(always)]
    pub fn take(&self, size: usize) -> *mut c_void {
        let Some(head) = self.heads.get(size) else {
            return ptr::null_mut();
        };
        let block = head.get();
        if !block.is_null() {
            // SAFETY: `keep` has written it; nobody else has used the block since.
            let next = unsafe { block.cast::<*mut c_void>().read_unaligned() };
            fetch(next);
            head.set(next);
            self.kept.set(self.kept.get() - size);
        }
        block
    }

    /// Whether more is kept than is to be where `used` bytes are in use.
    #[inline(always)]
    pub fn are_many(&self, used: usize) -> bool {
        self.kept.get() / 2 > used
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        match self.kept.get() {
            CLOSED => 0,
            kept => kept,
        }
    }

    /// One of another size is to be given back, too.
    pub fn is_turn(&self) -> bool {
        self.turn.set((self.turn.get() + 1) % TURN);
        self.turn.get() == 0
    }

    /// A block of the next size of which any are kept, and its size; none is kept: null.
    pub fn take_any(&self) -> (*mut c_void, usize) {
        if self.bytes() != 0 {
            loop {
                let size = self.stale.get();
                self.stale.set(if size == MOST { LEAST } else { size + 1 });
                let block = self.take(size);
                if !block.is_null() {
                    return (block, size);
                }
            }
        }
        (ptr::null_mut(), 0)
    }

    /// Gives blocks, and their sizes, to `f`, one size after the other, until no more than so many bytes are kept.
    pub fn drain(&self, most: usize, mut f: impl FnMut(*mut c_void, usize)) {
        for size in LEAST..=MOST {
            while self.bytes() > most {
                let block = self.take(size);
                if block.is_null() {
                    break;
                }
                f(block, size);
            }
        }
    }

    /// Keeps nothing from now on. They have been drained.
    pub fn close(&self) {
        self.kept.set(CLOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: usize = 1 << 30;

    /// Blocks of this size, which are never freed (`cargo xtask miri` does not ask for leaks).
    fn block(size: usize) -> *mut c_void {
        Box::leak(vec![0_u8; size].into_boxed_slice())
            .as_mut_ptr()
            .cast()
    }

    fn keep(spares: &Spares, block: *mut c_void, size: usize, used: usize) -> bool {
        // SAFETY: the blocks of the tests are used by nobody.
        unsafe { spares.keep(block, size, used) }
    }

    #[test]
    fn a_block_serves_the_next_request_of_its_size() {
        let spares = Spares::new(true);
        let blocks = [8, 56, 56, 57, 256].map(|size| (block(size), size));
        for (block, size) in blocks {
            assert!(keep(&spares, block, size, PLENTY));
        }
        let others = [0, 7, 9, 55, 58, 255, 257, usize::MAX];
        assert!(others.iter().all(|&size| spares.take(size).is_null()));
        assert_eq!(spares.take(56), blocks[2].0, "the last one first");
        assert_eq!(spares.take(56), blocks[1].0);
        assert!(spares.take(56).is_null());
        for (block, size) in [blocks[0], blocks[3], blocks[4]] {
            assert_eq!(spares.take(size), block);
        }
        assert_eq!(spares.bytes(), 0);
    }

    #[test]
    fn what_is_tiny_or_large_is_not_kept() {
        assert!(
            [0, 1, 7, 257, 1 << 20, usize::MAX]
                .iter()
                .all(|&size| !Spares::are_for(size))
        );
        assert!([8, 9, 256].iter().all(|&size| Spares::are_for(size)));
    }

    #[test]
    fn no_more_is_kept_than_twice_what_is_in_use() {
        let spares = Spares::new(true);
        let kept = (0..1000).filter(|_| keep(&spares, block(100), 100, 5_000));
        assert_eq!(kept.count(), 101);
        assert!(spares.are_many(5_000) && !spares.are_many(6_000));
    }

    #[cfg(feature = "luajit")]
    #[test]
    fn what_luajit_has_an_allocator_for_is_its_own_affair() {
        let spares = Spares::new(true);
        let kept = (0..10_000).filter(|_| keep(&spares, block(100), 100, PLENTY));
        assert_eq!(kept.count(), MOST_KEPT.div_ceil(100));
        assert!(!spares.are_many(PLENTY), "and nothing is given back for it");
    }

    #[test]
    fn one_more_is_kept_until_nothing_is() {
        let spares = Spares::new(true);
        // SAFETY: the blocks of the tests are used by nobody.
        let keep_one_more = || unsafe { spares.keep_one_more(block(100), 100) };
        assert!((0..1000).all(|_| keep_one_more()));
        assert_eq!(spares.bytes(), 100_000);
        spares.drain(0, |_, _| {});
        spares.close();
        assert!(!keep_one_more());
        assert_eq!(spares.bytes(), 0);
    }

    #[test]
    fn all_is_given_back_and_nothing_is_kept_then() {
        let spares = Spares::new(true);
        let sizes = (8..=256).chain(8..=256);
        let mut blocks: Vec<_> = sizes.map(|size| (block(size), size)).collect();
        for &(block, size) in &blocks {
            assert!(keep(&spares, block, size, PLENTY));
        }
        let mut given: Vec<_> = std::iter::repeat_with(|| spares.take_any())
            .take(blocks.len() / 2)
            .collect();
        let half = spares.bytes() / 2;
        spares.drain(half, |block, size| given.push((block, size)));
        assert!((half - 256..=half).contains(&spares.bytes()));
        spares.drain(0, |block, size| given.push((block, size)));
        given.sort();
        blocks.sort();
        assert_eq!(given, blocks);
        assert_eq!(spares.bytes(), 0);
        spares.close();
        assert!(!keep(&spares, block(56), 56, PLENTY));
        assert!(spares.take(56).is_null() && spares.take_any().0.is_null());
        assert_eq!(spares.bytes(), 0);
    }
}
