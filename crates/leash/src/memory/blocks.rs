//! Where blocks come from, and where they go: the host's allocator, with what is kept for later in front of it ([`super::spares`]).
//!
//! Nothing is refused here. Whoever calls counts what is in use.

use super::{Memory, Spares};
use std::ffi::c_void;
use std::ptr;

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
            let held = self.used.get().saturating_add(self.spares.bytes());
            if held.saturating_add(nsize) > self.limit.get() {
                self.give_back();
            }
            let new = self.pass_on(block, osize, nsize);
            if new.is_null() && self.give_back() {
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
            if !Spares::are_for(size) {
                return self.pass_on(block, size, 0);
            }
            if self.spares.keep(block, size, self.used.get()) {
                return ptr::null_mut();
            }
            self.make_room(block, size)
        }
    }

    /// The same where too many are kept.
    ///
    /// # Safety
    /// As `lua_Alloc`; blocks of this size are kept.
    #[inline(never)]
    unsafe extern "C" fn make_room(&self, block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: by the caller; what was kept is a block of that size.
        unsafe {
            let spare = self.spares.take(size);
            if !spare.is_null() {
                self.pass_on(spare, size, 0);
            }
            if self.spares.is_turn() {
                let (spare, its_size) = self.spares.take_any();
                if !spare.is_null() {
                    self.pass_on(spare, its_size, 0);
                }
            }
            if self.spares.keep(block, size, self.used.get()) {
                return ptr::null_mut();
            }
            self.pass_on(block, size, 0)
        }
    }

    /// Gives back what is kept. False: nothing was.
    ///
    /// # Safety
    /// The host's allocator is there.
    unsafe fn give_back(&self) -> bool {
        let mut any = false;
        loop {
            let (block, size) = self.spares.take_any();
            if block.is_null() {
                return any;
            }
            // SAFETY: a block of the host's, of this size, that nobody uses.
            unsafe { self.pass_on(block, size, 0) };
            any = true;
        }
    }

    /// Gives back what is kept, and keeps nothing from now on.
    ///
    /// # Safety
    /// The host's allocator is there.
    pub unsafe fn keep_no_spares(&self) {
        // SAFETY: by the caller.
        unsafe { self.give_back() };
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

    #[test]
    fn a_host_that_has_no_more_is_given_back_what_is_kept() {
        let mut blocks = [[0_u64; 8]; 2];
        let both = blocks
            .each_mut()
            .map(|b| Cell::new(b.as_mut_ptr().cast::<c_void>()));
        let mut memory = Memory::new((two, (&raw const both).cast_mut().cast()), 1 << 20);
        memory.spares = Spares::new(true); // also where the build has none
        // SAFETY: blocks of 64 bytes.
        unsafe {
            let first = memory.obtain(0, 32);
            let second = memory.obtain(0, 64);
            assert!(memory.obtain(0, 64).is_null() && memory.change(second, 64, 60).is_null());
            memory.release(first, 32);
            assert!(both.iter().all(|b| b.get().is_null()), "it is kept");
            assert_eq!(memory.obtain(0, 64), first, "another size");
            memory.release(first, 64);
            memory.release(second, 64);
            memory.keep_no_spares();
            assert!(both.iter().all(|b| !b.get().is_null()), "given back");
        }
    }
}
