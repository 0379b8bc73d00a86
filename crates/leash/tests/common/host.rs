//! A host's allocator, for tests: it counts, and fails when it is told to.

use leash::{Handle, sys};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

/// A host's allocator: it counts, and can be told to fail, or to interrupt its own state.
#[derive(Default)]
pub struct Host {
    pub bytes: Cell<usize>,
    /// The most.
    pub peak: Cell<usize>,
    /// Blocks in use.
    pub blocks: Cell<usize>,
    /// Blocks and growth that were asked for.
    pub asked: Cell<usize>,
    /// From which of them on there is no memory; and again from which on.
    pub none_from: Cell<Option<usize>>,
    pub none_until: Cell<Option<usize>>,
    /// In each: by this, which has the hook set on every coroutine.
    pub breaks: Cell<Option<Handle>>,
    /// The same: by this, which stops the call that is open, if one is.
    pub kills: Cell<Option<Handle>>,
}

/// # Safety
/// As `lua_Alloc`; `ud` is a [`Host`].
pub unsafe extern "C" fn allocate(
    ud: *mut c_void,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: `ud` is the host that outlives the state; the rest is as `lua_Alloc`.
    unsafe {
        let host = &*ud.cast::<Host>();
        let osize = if block.is_null() { 0 } else { osize };
        if nsize == 0 {
            libc::free(block);
            host.bytes.set(host.bytes.get().wrapping_sub(osize));
            host.blocks
                .set(host.blocks.get() - usize::from(!block.is_null()));
            return ptr::null_mut();
        }
        if nsize > osize {
            let n = host.asked.get();
            host.asked.set(n + 1);
            let from = host.none_from.get().is_some_and(|from| n >= from);
            if from && host.none_until.get().is_none_or(|until| n < until) {
                return ptr::null_mut();
            }
            if let Some(handle) = host.breaks.get() {
                handle.break_off(); // the signal handler runs before this returns
            }
            if let Some(handle) = host.kills.get() {
                handle.kill();
            }
        }
        let new = libc::realloc(block, nsize);
        if !new.is_null() {
            let bytes = host.bytes.get().wrapping_add(nsize);
            host.bytes.set(bytes.wrapping_sub(osize));
            host.peak.set(host.peak.get().max(host.bytes.get()));
            host.blocks
                .set(host.blocks.get() + usize::from(block.is_null()));
        }
        new
    }
}

impl Host {
    pub fn state(&self) -> *mut sys::lua_State {
        let ud = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: `self` outlives the state, as each test sees to.
        unsafe {
            #[cfg(not(feature = "lua55"))]
            let l = sys::lua_newstate(allocate, ud);
            #[cfg(feature = "lua55")]
            let l = sys::lua_newstate(allocate, ud, 1);
            assert!(!l.is_null());
            l
        }
    }

    /// From the `n`-th block on that is asked for from now on there is no memory, for `many` of them.
    pub fn fail(&self, n: usize, many: Option<usize>) {
        let from = self.asked.get() + n;
        self.none_from.set(Some(from));
        self.none_until.set(many.map(|m| from + m));
    }

    pub fn recover(&self) {
        self.none_from.set(None);
    }
}
