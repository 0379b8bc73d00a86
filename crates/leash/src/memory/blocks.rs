//! Where blocks come from, and where they go: the host's allocator, with what is kept for later in front of it ([`super::spares`]).
//!
//! Nothing is refused here. Whoever calls counts what is in use.

use super::{Memory, Spares};
use std::ffi::c_void;
use std::ptr;

/// Bytes that are given back at once, at least: each time takes a look at many sizes.
const AT_LEAST: usize = 4 << 10;
/// And at most, where a large block goes, for no hook runs meanwhile: a millisecond or two. The rest goes with the next blocks.
const AT_MOST: usize = 8 << 20;

impl Memory {
    /// Calls the host's allocator.
    ///
    /// # Safety
    /// As `lua_Alloc`.
    #[inline(always)]
    unsafe fn pass_on(&self, block: *mut c_void, osize: usize, nsize: usize) -> *mut c_void {
        // SAFETY: by the caller; the pair came from `lua_getallocf`.
        unsafe { (self.base.0)(self.base.1, block, osize, nsize) }
    }

    /// A block that was kept, of this size; null: there is none.
    #[inline(always)]
    pub fn spare(&self, size: usize) -> *mut c_void {
        self.spares.take(size)
    }

    /// A new block: one that was kept, or one of the host's. `kind`: as Lua's `osize`. Null: the host has none.
    ///
    /// # Safety
    /// As `lua_Alloc`.
    pub unsafe fn obtain(&self, kind: usize, size: usize) -> *mut c_void {
        let spare = self.spare(size);
        if !spare.is_null() {
            return spare;
        }
        // SAFETY: by the caller.
        unsafe { self.ask_host(ptr::null_mut(), kind, size) }
    }

    /// The same block in another size. Null: the host has none, and it stays as it is.
    ///
    /// # Safety
    /// As `lua_Alloc`.
    #[inline(always)]
    pub unsafe fn change(&self, block: *mut c_void, osize: usize, nsize: usize) -> *mut c_void {
        // SAFETY: by the caller. What is kept is not in use, so they do not overlap.
        unsafe {
            if osize == 0 {
                // Some libraries that use the state's allocator do not say how large the block is. A host's seldom needs to know.
                return self.ask_host(block, osize, nsize);
            }
            let spare = self.spares.take(nsize);
            if spare.is_null() {
                return self.ask_host(block, osize, nsize);
            }
            spare.copy_from_nonoverlapping(block, osize.min(nsize));
            self.release(block, osize);
            spare
        }
    }

    /// Has the host make a block, or change one; if it has no more, it is given back what is kept, and asked again.
    ///
    /// # Safety
    /// As `lua_Alloc`.
    #[inline(never)]
    pub unsafe fn ask_host(&self, block: *mut c_void, osize: usize, nsize: usize) -> *mut c_void {
        // SAFETY: by the caller.
        unsafe {
            // What a limit allows is meant for what is in use.
            let wanted = self.used.get().saturating_add(nsize);
            let left = self.limit.get().saturating_sub(wanted);
            if self.spares.bytes() > left {
                self.give_back(left.saturating_sub(AT_LEAST));
            }
            let new = self.pass_on(block, osize, nsize);
            if new.is_null() && self.spares.bytes() != 0 {
                self.give_back(0);
                return self.pass_on(block, osize, nsize);
            }
            new
        }
    }

    /// A block that is no longer in use, and no longer counted: kept, or the host's again. Returns null.
    ///
    /// # Safety
    /// As `lua_Alloc`.
    #[inline(always)]
    pub unsafe fn release(&self, block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: by the caller.
        unsafe {
            if Spares::are_for(size) && self.spares.keep(block, size, self.used.get()) {
                return ptr::null_mut();
            }
            self.release_to_host(block, size)
        }
    }

    /// The same for what is not kept: it is large, or too many are kept. Then there are to be fewer, unless a stop [hurries](Memory::hurry).
    ///
    /// # Safety
    /// As `lua_Alloc`.
    #[inline(never)]
    unsafe extern "C" fn release_to_host(&self, block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: by the caller.
        unsafe {
            if self.hurries.get() {
                if Spares::are_for(size) && self.spares.keep_one_more(block, size) {
                    return ptr::null_mut();
                }
            } else if self.spares.are_many(self.used.get()) {
                self.make_room(size);
            }
            self.pass_on(block, size, 0)
        }
    }

    /// Gives back some of what is kept, where a block of this size goes.
    ///
    /// # Safety
    /// The host's allocator is there.
    unsafe fn make_room(&self, size: usize) {
        let give = |(block, its_size): (*mut c_void, usize)| {
            if !block.is_null() {
                // SAFETY: a block of the host's, of this size, that nobody uses.
                unsafe { self.pass_on(block, its_size, 0) };
            }
        };
        if Spares::are_for(size) {
            // As much as the bound falls by.
            for _ in 0..2 {
                give((self.spares.take(size), size));
            }
            if !self.spares.is_turn() {
                return;
            }
            if self.spares.bytes() / 8 < self.used.get() {
                give(self.spares.take_any());
                return;
            }
        }
        let some = size.saturating_mul(2).clamp(AT_LEAST, AT_MOST);
        let most = self.used.get().saturating_mul(2);
        let rest = self.spares.bytes().saturating_sub(some);
        // SAFETY: by the caller.
        unsafe { self.give_back(most.max(rest)) };
    }

    /// Gives back what is kept, but for so many bytes.
    ///
    /// # Safety
    /// The host's allocator is there.
    unsafe fn give_back(&self, most: usize) {
        self.spares.drain(most, |block, size| {
            // SAFETY: a block of the host's, of this size, that nobody uses.
            unsafe { self.pass_on(block, size, 0) };
        });
    }

    /// Gives back what is kept, and keeps nothing from now on.
    ///
    /// # Safety
    /// The host's allocator is there.
    pub unsafe fn keep_no_spares(&self) {
        // SAFETY: by the caller.
        unsafe { self.give_back(0) };
        self.spares.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A host that has two blocks.
    unsafe extern "C" fn two(
        ud: *mut c_void,
        block: *mut c_void,
        _: usize,
        nsize: usize,
    ) -> *mut c_void {
        // SAFETY: the addresses of both, null where one is in use.
        let both = unsafe { &*ud.cast::<[Cell<*mut c_void>; 2]>() };
        if nsize == 0 {
            both.iter().find(|b| b.get().is_null()).unwrap().set(block);
            return ptr::null_mut();
        }
        let free = both.iter().find(|b| !b.get().is_null());
        free.map_or(ptr::null_mut(), |b| b.replace(ptr::null_mut()))
    }

    /// Calls `f` with a memory over such a host, and with what tells how many of its blocks the host has.
    fn with_two(used: usize, f: impl FnOnce(&Memory, &dyn Fn() -> usize)) {
        let mut blocks = [[0_u64; 8]; 2];
        let both = blocks
            .each_mut()
            .map(|b| Cell::new(b.as_mut_ptr().cast::<c_void>()));
        let mut memory = Memory::new((two, (&raw const both).cast_mut().cast()), used);
        memory.spares = Spares::new(true); // also where the build has none
        f(&memory, &|| {
            both.iter().filter(|b| !b.get().is_null()).count()
        });
    }

    #[test]
    fn a_host_that_has_no_more_is_given_back_what_is_kept() {
        // SAFETY: blocks of 64 bytes.
        with_two(1 << 20, |memory, left| unsafe {
            let first = memory.obtain(0, 32);
            let second = memory.obtain(0, 64);
            assert!(memory.obtain(0, 64).is_null() && memory.change(second, 64, 60).is_null());
            memory.release(first, 32);
            assert_eq!(left(), 0, "it is kept");
            assert_eq!(memory.obtain(0, 64), first, "another size");
            memory.release(first, 64);
            memory.release(second, 64);
            memory.keep_no_spares();
            assert_eq!(left(), 2, "given back");
        });
    }

    /// A finalizer that had overflowed the stack was stopped 50 ms late: most of that was time in which what its calls had needed was given back.
    #[test]
    fn a_stop_does_not_wait_for_what_is_given_back() {
        // SAFETY: blocks of 64 bytes. Nothing else is in use.
        with_two(0, |memory, left| unsafe {
            let (first, second) = (memory.obtain(0, 64), memory.obtain(0, 64));
            memory.hurry(true);
            memory.release(first, 64);
            memory.release(second, 64);
            assert_eq!(left(), 0);
            assert_eq!(memory.obtain(0, 64), second);
            memory.hurry(false);
            memory.release(second, 64);
            assert_eq!(left(), 2, "there is no hurry any more");
        });
    }
}
