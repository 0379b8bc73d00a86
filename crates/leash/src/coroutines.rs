//! Which coroutines live: the set that an interrupt has to hook.
//!
//! On PUC Lua a hook belongs to one coroutine, and nothing in the C API lists the coroutines of a state. But each is a block of
//! memory, so the wrapped allocator ([`crate::alloc`]) sees it come and go, and keeps this set: address of the coroutine, and
//! the hook that it had before ours went in. An interrupt hooks **all** of them. Picking the active ones by `lua_status` and
//! `lua_getstack` loses interrupts that land inside `coroutine.resume` (268 to 394 machine instructions, by single-stepping).
//!
//! **The set is read by a signal handler** on the same thread that changes it. So it is never concurrent, but the handler can
//! land in the middle of a change. Each change happens between `busy = true` and `busy = false`; a handler that finds `busy`
//! leaves the set alone, and the next resend finds it whole. Compiler fences keep the stores between the two marks; the
//! processor needs none, since a signal handler sees its own thread's stores in order.
//!
//! An open-addressing table of 48-byte entries, at most three quarters full: 64 to 128 bytes for each coroutine. A list through the
//! coroutines themselves would be smaller, but there is no room in them; a `HashMap` would do, but iterating one inside a signal
//! handler rests on facts about `std` that nobody promises.

use crate::scope::Scope;
use crate::sys::{self, Hook, lua_State};
use crate::target::{self, Target};
use crate::watch::{self, Notes, Word};
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{Ordering, compiler_fence};

/// A hook as `lua_sethook` takes it: function, mask, count.
#[derive(Clone, Copy, Default)]
pub struct SavedHook {
    /// The function; none: no hook.
    pub hook: Option<Hook>,
    /// `LUA_MASK*` bits.
    pub mask: c_int,
    /// The base count (what was left of it cannot be asked for).
    pub count: c_int,
}

impl SavedHook {
    /// What is set on `l` now.
    ///
    /// # Safety
    /// `l` is a live coroutine on its own thread. Safe in a signal handler: three loads.
    pub unsafe fn of(l: *mut lua_State) -> SavedHook {
        // SAFETY: by the caller.
        unsafe {
            SavedHook {
                hook: sys::lua_gethook(l),
                mask: sys::lua_gethookmask(l),
                count: sys::lua_gethookcount(l),
            }
        }
    }
}

/// A hook that was saved, if any was, in two words instead of the three of an `Option`.
#[derive(Default)]
pub struct Saved {
    hook: Cell<Option<Hook>>,
    /// `PRESENT`, the mask, the count.
    rest: Cell<u64>,
}

const PRESENT: u64 = 1 << 63;

impl Saved {
    /// What was saved.
    pub fn get(&self) -> Option<SavedHook> {
        let rest = self.rest.get();
        (rest & PRESENT != 0).then(|| SavedHook {
            hook: self.hook.get(),
            mask: (rest >> 32) as c_int & c_int::MAX,
            count: rest as u32 as c_int,
        })
    }

    /// Saves a hook, or forgets it.
    pub fn set(&self, saved: Option<SavedHook>) {
        match saved {
            None => self.rest.set(0),
            Some(s) => {
                self.hook.set(s.hook);
                let mask = (s.mask & c_int::MAX) as u64;
                self.rest
                    .set(PRESENT | mask << 32 | u64::from(s.count as u32));
            }
        }
    }

    /// What was saved, once.
    pub fn take(&self) -> Option<SavedHook> {
        let saved = self.get();
        self.set(None);
        saved
    }
}

/// One coroutine.
pub struct Entry {
    co: Cell<usize>,
    /// The user's hook, once ours has replaced it.
    pub saved: Saved,
    /// By which other threads interrupt it, once it has been given an id.
    pub target: Cell<Option<&'static Target>>,
    /// Its watch, or null.
    pub watched: Cell<Word>,
    /// The innermost call with limits that it has open and that may be suspended, or null.
    pub calls: Cell<*const Scope>,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            co: Cell::new(EMPTY),
            saved: Saved::default(),
            target: Cell::new(None),
            watched: Cell::new(std::ptr::null()),
            calls: Cell::new(std::ptr::null()),
        }
    }
}

impl Entry {
    /// The coroutine is gone: so is what belonged to it.
    pub fn release(&self) {
        if let Some(t) = self.target.take() {
            target::release(t);
        }
        watch::release(self.watched.replace(std::ptr::null()));
    }
}

const NO_TABLE: *const [Entry] =
    std::ptr::slice_from_raw_parts(std::ptr::NonNull::<Entry>::dangling().as_ptr(), 0);

const EMPTY: usize = 0;
const TOMBSTONE: usize = 1;

/// A walk has the processor fetch a coroutine so many entries before its turn. They lie scattered in memory, and to wait for each is most of what a walk through very
/// many costs: without this, 50,000 took 15 ms instead of 5.
const AHEAD: usize = 16;

/// Bytes of a `lua_State` that a walk looks at, rounded up; and what a processor fetches at a time.
const LOOKED_AT: usize = 256;
const LINE: usize = 64;

/// Has the processor fetch a coroutine, if there is one.
#[inline(always)]
fn fetch(co: usize) {
    #[cfg(target_arch = "x86_64")]
    if co > TOMBSTONE {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for offset in (0..LOOKED_AT).step_by(LINE) {
            let line = std::ptr::without_provenance(co.wrapping_add(offset));
            // SAFETY: a hint. It accesses nothing, whatever is there.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (co, LOOKED_AT, LINE);
}

/// The set. Used on the owner thread only, its signal handler included.
pub struct Coroutines {
    table: Cell<*const [Entry]>,
    live: Cell<usize>,
    /// Live entries and tombstones.
    filled: Cell<usize>,
    busy: Cell<bool>,
    /// What their watches share.
    pub notes: Notes,
    /// Before each resume the module wants to be asked by which clock.
    pub asks: Cell<bool>,
}

impl Coroutines {
    /// An empty set. Allocates nothing.
    pub const fn new() -> Coroutines {
        Coroutines {
            table: Cell::new(NO_TABLE),
            live: Cell::new(0),
            filled: Cell::new(0),
            busy: Cell::new(false),
            notes: Notes::new(),
            asks: Cell::new(false),
        }
    }

    /// How many live.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.live.get()
    }

    fn entries(&self) -> &[Entry] {
        // SAFETY: `table` is a leaked box made by `rebuild`, or the empty slice; it is freed only by `rebuild` and `clear`,
        // under `busy`, when no reference from here is alive (all uses are short and on this thread; the handler does not
        // run inside them when `busy` is set, and finishes before they go on when it is not).
        unsafe { &*self.table.get() }
    }

    /// Runs `change` with the set marked as being changed.
    fn changing<R>(&self, change: impl FnOnce() -> R) -> R {
        self.busy.set(true);
        compiler_fence(Ordering::SeqCst);
        let r = change();
        compiler_fence(Ordering::SeqCst);
        self.busy.set(false);
        r
    }

    fn slot(co: usize, mask: usize) -> usize {
        // Fibonacci hashing: blocks lie at multiples of 16, so the low bits say little.
        ((co as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as usize & mask
    }

    /// Adds a coroutine. False if there is no memory for it: the caller lets the coroutine's own allocation fail.
    pub fn insert(&self, co: *mut lua_State) -> bool {
        self.changing(|| {
            if (self.filled.get() + 1) * 4 > self.entries().len() * 3 && !self.rebuild() {
                return false;
            }
            let entries = self.entries();
            let mask = entries.len() - 1;
            let mut i = Self::slot(co as usize, mask);
            let mut reuse = None;
            let at = loop {
                match entries[i].co.get() {
                    EMPTY => break reuse.unwrap_or(i),
                    c if c == co as usize => return true,
                    TOMBSTONE => {
                        reuse.get_or_insert(i);
                    }
                    _ => {}
                }
                i = (i + 1) & mask;
            };
            if entries[at].co.get() == EMPTY {
                self.filled.set(self.filled.get() + 1);
            }
            entries[at].saved.set(None);
            entries[at].target.set(None);
            entries[at].watched.set(std::ptr::null());
            entries[at].calls.set(std::ptr::null());
            entries[at].co.set(co as usize);
            self.live.set(self.live.get() + 1);
            true
        })
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.live.get() == 0
    }

    /// Takes a coroutine out, if it is there.
    pub fn remove(&self, co: *mut lua_State) {
        if self.is_empty() {
            return;
        }
        self.changing(|| {
            let entries = self.entries();
            let mask = entries.len() - 1;
            let mut i = Self::slot(co as usize, mask);
            loop {
                let e = &entries[i];
                match e.co.get() {
                    EMPTY => return,
                    c if c == co as usize => {
                        e.release();
                        // A run that ends here needs no tombstone: the next slot being empty ends every probe anyway.
                        if entries[(i + 1) & mask].co.get() == EMPTY {
                            e.co.set(EMPTY);
                            self.filled.set(self.filled.get() - 1);
                        } else {
                            e.co.set(TOMBSTONE);
                        }
                        self.live.set(self.live.get() - 1);
                        return;
                    }
                    _ => i = (i + 1) & mask,
                }
            }
        });
    }

    /// A table with room, without tombstones. False if there is no memory.
    fn rebuild(&self) -> bool {
        let size = (self.live.get() * 2).next_power_of_two().max(16);
        let mut v = Vec::new();
        if v.try_reserve_exact(size).is_err() {
            return false;
        }
        v.resize_with(size, Entry::default);
        let new: &'static [Entry] = Box::leak(v.into_boxed_slice());
        let mask = size - 1;
        for e in self.entries() {
            if e.co.get() > TOMBSTONE {
                let mut i = Self::slot(e.co.get(), mask);
                while new[i].co.get() != EMPTY {
                    i = (i + 1) & mask;
                }
                new[i].saved.set(e.saved.get());
                new[i].target.set(e.target.get());
                new[i].watched.set(e.watched.get());
                new[i].calls.set(e.calls.get());
                new[i].co.set(e.co.get());
            }
        }
        let old = self.table.replace(new);
        self.filled.set(self.live.get());
        Self::free(old);
        true
    }

    fn free(table: *const [Entry]) {
        if !table.is_empty() {
            // SAFETY: a table of positive length came from `Box::leak` in `rebuild`, and has just been taken out of use.
            drop(unsafe { Box::from_raw(table.cast_mut()) });
        }
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.changing(|| {
            for e in self.entries() {
                e.release();
            }
            let old = self.table.replace(NO_TABLE);
            self.live.set(0);
            self.filled.set(0);
            Self::free(old);
        });
    }

    /// Calls `f` for each, unless a change is under way, and says whether it did. **Signal context**: allocates nothing, takes
    /// no lock.
    pub fn for_each(&self, mut f: impl FnMut(*mut lua_State, &Entry)) -> bool {
        let whole = !self.busy.get();
        self.any(|co, entry| {
            f(co, entry);
            false
        });
        whole
    }

    /// Whether `f` says so of one of them; no further one is looked at then. No, while a change is under way. **Signal context.**
    pub fn any(&self, mut f: impl FnMut(*mut lua_State, &Entry) -> bool) -> bool {
        if self.busy.get() {
            return false;
        }
        compiler_fence(Ordering::SeqCst);
        let entries = self.entries();
        entries.iter().enumerate().any(|(i, e)| {
            if let Some(soon) = entries.get(i + AHEAD) {
                fetch(soon.co.get());
            }
            e.co.get() > TOMBSTONE && f(e.co.get() as *mut lua_State, e)
        })
    }

    /// A change is under way: a signal handler keeps off.
    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// The entry of one coroutine.
    pub fn get(&self, co: *mut lua_State) -> Option<&Entry> {
        let entries = self.entries();
        if entries.is_empty() {
            return None;
        }
        let mask = entries.len() - 1;
        let mut i = Self::slot(co as usize, mask);
        loop {
            match entries[i].co.get() {
                EMPTY => return None,
                c if c == co as usize => return Some(&entries[i]),
                _ => i = (i + 1) & mask,
            }
        }
    }
}

impl Drop for Coroutines {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn all(c: &Coroutines) -> HashSet<usize> {
        let mut s = HashSet::new();
        assert!(c.for_each(|co, _| {
            assert!(s.insert(co as usize), "listed twice");
        }));
        s
    }

    /// The set against `HashSet`, over random insertions and removals that cluster, collide and leave tombstones.
    #[test]
    fn behaves_as_a_set() {
        let c = Coroutines::new();
        let mut model = HashSet::new();
        let mut x = 12345u64;
        // Under miri each step takes milliseconds.
        let (steps, turn, keys) = if cfg!(miri) {
            (1_500, 300, 100)
        } else {
            (60_000, 5_000, 3_000)
        };
        for step in 0..steps {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let grow = (step / turn) % 2 == 0;
            let co = 0x1000 + 16 * ((x >> 33) as usize % keys);
            if (x >> 20) % 4 < if grow { 3 } else { 1 } {
                assert!(c.insert(co as *mut lua_State));
                model.insert(co);
            } else {
                c.remove(co as *mut lua_State);
                model.remove(&co);
            }
            assert_eq!(c.len(), model.len());
            assert_eq!(
                c.get(co as *mut lua_State).is_some(),
                model.contains(&co),
                "step {step}"
            );
            if step % (turn / 5) == 0 {
                assert_eq!(all(&c), model);
            }
        }
        assert_eq!(all(&c), model);
        c.clear();
        assert!(all(&c).is_empty());
    }

    #[test]
    fn keeps_saved_hooks_over_a_rebuild() {
        let c = Coroutines::new();
        assert!(c.insert(0x100 as *mut lua_State));
        let saved = SavedHook {
            hook: None,
            mask: 5,
            count: 7,
        };
        c.get(0x100 as *mut lua_State)
            .unwrap()
            .saved
            .set(Some(saved));
        for i in 1..500usize {
            assert!(c.insert((0x100 + i * 16) as *mut lua_State));
        }
        let s = c.get(0x100 as *mut lua_State).unwrap().saved.get().unwrap();
        assert_eq!((s.mask, s.count), (5, 7));
    }

    #[test]
    fn a_saved_hook_comes_back_whole() {
        let saved = Saved::default();
        assert!(saved.get().is_none());
        for (mask, count) in [(0, 0), (15, 1), (8, c_int::MAX), (1, -1)] {
            let hook = None;
            saved.set(Some(SavedHook { hook, mask, count }));
            let s = saved.get().unwrap();
            assert_eq!((s.mask, s.count), (mask, count));
        }
        assert!(saved.take().is_some());
        assert!(saved.get().is_none());
        assert_eq!(size_of::<Entry>(), 48);
    }

    #[test]
    fn a_handler_in_the_middle_of_a_change_keeps_off() {
        let c = Coroutines::new();
        c.insert(0x100 as *mut lua_State);
        assert!(!c.changing(|| c.for_each(|_, _| unreachable!())));
        assert!(c.for_each(|_, _| {}));
    }
}
