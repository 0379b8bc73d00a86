//! How much memory a state uses, how much it may, and what a refusal means.
//!
//! [`crate::alloc`] asks here before each growth, millions of times a second, so the usual answer must be one comparison: is what is in
//! use, and the growth, below the **gate**? The gate is the limit; or zero while anything unusual goes on, and then the
//! slow way looks at it all.
//!
//! **When memory has run out.** From 5.2 on Lua collects when it is refused, and asks once more for the same; only the second refusal is
//! final and stops the call. 5.1 and LuaJIT do not collect there, so the first is. A call may be refused, collect, and go on
//! many times: so the last refusal is remembered, and forgotten when the same request is granted.
//!
//! **Stacks** are the exception: from 5.4 on Lua does not collect when it is refused memory for one, and asks once (`gcstopem` in `luaD_reallocstack`; not all releases do so). So the next hook looks whether
//! the refusal was the last word ([`Memory::ran_out_unseen`]). It was, unless the next request is for the same: a collection comes before any hook, and makes nothing.
//!
//! **Collecting before that**: 5.1 and LuaJIT never collect when they are refused, and the string buffers of 5.3 and later do not either. So when three quarters of
//! what is left have been used, the hook is set, and collects at the next instruction; then again at three quarters of what is left by then. What one
//! request takes beyond that is refused, whatever garbage there is.
//!
//! **LuaJIT's table of strings** is replaced by a smaller one at the end of a collection. If that is refused while compiled code runs, LuaJIT crashes: it
//! takes the state of the collector for the number of a trace (`lj_trace_unwind`). So a new block of such a size is granted beyond the limit, up to
//! half of it; the call is stopped all the same.
//!
//! **The hook** needs memory before it runs, which must not be refused: [`awaited`].
//!
//! **LuaJIT's message.** There a stop is a memory error ([`crate::raise`]), whose message is a text; and each `coroutine.wrap` through which it passes puts its place in front of that. In a chain of
//! 14,000 coroutines these texts were 3 GB together, and took four seconds. So while an error of ours is on its way, until the hook runs again, a text of [`LONG_TEXT`] is refused;
//! which makes it the short message again. What is a text? Each is a little longer than the last; anything else that is made says that code runs (in a finalizer, say, where no hook runs).

mod awaited;
mod blocks;
mod spares;

use crate::record::unforeseen;
use crate::sys;
use awaited::Awaited;
use spares::Spares;
use std::cell::Cell;
use std::ffi::c_void;
use watchdog::Ticks;

/// What a state may grow by, on average, until the calls in force are looked up again. See [`Memory::look_again_later`].
const SOME: u64 = 32 << 10;

/// See the module's header.
pub struct Memory {
    /// The host's allocator.
    base: (sys::lua_Alloc, *mut c_void),
    /// Blocks of its that are not in use.
    spares: Spares,
    /// Nothing is given back that can be kept: see [`spares`].
    hurries: Cell<bool>,
    /// Bytes in use.
    pub used: Cell<usize>,
    /// `limit`, or 0: see the module's header.
    gate: Cell<usize>,
    limit: Cell<usize>,
    /// The next growth is refused: an error of ours ([`crate::hook`]).
    refuse_next: Cell<bool>,
    /// LuaJIT: an error of ours is on its way, and its last text had this size.
    falling: Cell<Option<usize>>,
    /// Growth is ours, and not limited.
    exempt: Cell<bool>,
    /// Growth refused so far in this call.
    refusals: Cell<u32>,
    /// The last one's size, and bytes in use then.
    last_refusal: Cell<Option<(usize, usize)>>,
    /// What was refused last for a stack: see the module's header.
    stack_refused: Cell<Option<StackRefused>>,
    /// The limit has been reached for good.
    over: Cell<bool>,
    /// Bytes granted beyond the limit in this call.
    beyond: Cell<usize>,
    /// Whether the hook is on its way, and what it may take.
    pub awaited: Awaited,
    /// Growth beyond this is granted, but somebody should collect first.
    soft: Cell<usize>,
    /// Somebody has been asked to.
    wants_collection: Cell<bool>,
}

/// A refusal of growth of a stack.
#[derive(Clone, Copy)]
struct StackRefused {
    growth: usize,
    /// Bytes that would have been in use.
    wanted: usize,
    /// Something else has been asked for since.
    for_good: bool,
}

/// Whether a new block may be LuaJIT's table of strings: a power of two of references, at least 256 (`LJ_MIN_STRTAB`) of four or eight bytes.
fn may_be_strings(size: usize) -> bool {
    cfg!(feature = "luajit") && size >= 1024 && size.is_power_of_two()
}

/// No collection for less: each one visits all that is alive.
const WORTH_COLLECTING: usize = 4096;

/// See the module's header. Some twenty places.
const LONG_TEXT: usize = 1000;
/// The longest place, twice, or once and the message and what a string is besides.
const ONE_PLACE: usize = 200;

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Pass it on.
    Granted,
    /// Pass it on, and see that the collector runs soon.
    GrantedSoft,
    /// Memory has run out, but pass it on.
    GrantedBeyond,
    /// Pass it on: the hook needs it.
    GrantedToHook,
    /// Refuse it. Lua may collect and ask again.
    Refused,
    /// Refuse it: memory has run out.
    RanOut,
}

impl Memory {
    /// Around an allocator by which `used` bytes are in use.
    pub fn new(base: (sys::lua_Alloc, *mut c_void), used: usize) -> Memory {
        Memory {
            base,
            spares: Spares::new(!cfg!(any(leash_no_spares, fuzzing))),
            hurries: Cell::new(false),
            used: Cell::new(used),
            gate: Cell::new(usize::MAX),
            limit: Cell::new(usize::MAX),
            refuse_next: Cell::new(false),
            falling: Cell::new(None),
            exempt: Cell::new(false),
            refusals: Cell::new(0),
            last_refusal: Cell::new(None),
            stack_refused: Cell::new(None),
            over: Cell::new(false),
            beyond: Cell::new(0),
            awaited: Awaited::default(),
            soft: Cell::new(usize::MAX),
            wants_collection: Cell::new(false),
        }
    }

    /// The host's allocator.
    pub fn base(&self) -> (sys::lua_Alloc, *mut c_void) {
        self.base
    }

    /// An error of ours is on its way, or no longer: no time is to be lost by giving back what can be kept.
    pub fn hurry(&self, yes: bool) {
        self.hurries.set(yes);
    }

    /// Whether `growth` is granted without a further look.
    #[inline(always)]
    pub fn is_plenty(&self, growth: usize) -> bool {
        self.used.get().saturating_add(growth) <= self.gate.get()
    }

    /// The further look. `limit`: that of the calls in force, others being asleep. `collects`: Lua collects when it is refused now, and asks
    /// again. `is_new`: it is a block of its own. `is_stack`: it is that of a coroutine that runs.
    #[cold]
    pub fn ask(
        &self,
        growth: usize,
        limit: usize,
        is_new: bool,
        collects: impl FnOnce() -> bool,
        is_stack: impl FnOnce() -> bool,
    ) -> Answer {
        if self.exempt.get() {
            return Answer::Granted;
        }
        if self.refuse_next.replace(false) {
            self.set_gate();
            return Answer::Refused;
        }
        // (The buffer in which they are made has powers of two.)
        if let Some(last) = self.falling.get()
            && is_new
            && !growth.is_power_of_two()
        {
            let is_text = growth > last && growth - last <= ONE_PLACE;
            if is_text && growth >= LONG_TEXT {
                return Answer::Refused;
            }
            self.falling.set(is_text.then_some(growth));
            self.set_gate();
        }
        let used = self.used.get();
        // The first request after the refusal tells.
        if let Some(refused) = self.stack_refused.get()
            && !refused.for_good
        {
            let for_good = StackRefused {
                for_good: true,
                ..refused
            };
            let asks_again = growth == refused.growth;
            self.stack_refused.set((!asks_again).then_some(for_good));
        }
        let last = self.last_refusal.get();
        if used.saturating_add(growth) <= limit {
            // The same request again, and granted: the collection in between has helped, and the next refusal is a new one.
            // (Others do not count: a script that catches the refusal of a string buffer, for which nothing is collected,
            // allocates small things before it tries the same again.)
            if last.is_some_and(|l| l.0 == growth) {
                self.last_refusal.set(None);
                self.set_gate();
            }
            if used.saturating_add(growth) <= self.soft.get() {
                return Answer::Granted;
            }
            self.soft.set(usize::MAX);
            self.wants_collection.set(true);
            self.set_gate();
            return Answer::GrantedSoft;
        }
        if self.awaited.grants(used, growth, limit, is_stack) {
            return Answer::GrantedToHook;
        }
        let beyond = self.beyond.get().saturating_add(growth);
        if is_new && may_be_strings(growth) && growth <= used / 2 && beyond <= limit / 2 {
            self.beyond.set(beyond);
            self.over.set(true);
            return Answer::GrantedBeyond;
        }
        self.refusals.set(self.refusals.get() + 1);
        // The second request of the same size means that the collection in between has not helped enough.
        self.last_refusal.set(Some((growth, used)));
        self.set_gate();
        let asked_twice = last.is_some_and(|l| l.0 == growth && used <= l.1);
        if (asked_twice || !collects()) && !self.over.replace(true) {
            Answer::RanOut
        } else {
            Answer::Refused
        }
    }

    /// After growth that was granted, though it is beyond the limit of a call that is asleep: looks again after some more. How much that is nobody
    /// can foresee, so that the call, when it is resumed, cannot grow unseen between two looks.
    pub fn look_again_later(&self, growth: usize, limit: usize) {
        let wanted = self.used.get().saturating_add(growth);
        if wanted > self.limit.get() {
            let some = unforeseen(Ticks::now(), 2 * SOME) as usize;
            self.limit.set(limit.min(wanted + some));
            self.soft.set(usize::MAX); // not the limit of what runs: nothing is collected for it
            self.set_gate();
        }
    }

    fn set_gate(&self) {
        let unusual = self.refuse_next.get()
            || self.falling.get().is_some()
            || self.exempt.get()
            || self.last_refusal.get().is_some();
        let usual = self.limit.get().min(self.soft.get());
        self.gate.set(if unusual { 0 } else { usual });
    }

    /// Whether the hook is to collect.
    pub fn wants_collection(&self) -> bool {
        self.wants_collection.get()
    }

    /// It has, or is about to: says when to do so next.
    pub fn collect_later(&self) {
        self.wants_collection.set(false);
        let left = self.limit.get().saturating_sub(self.used.get());
        let worth_it = self.limit.get() != usize::MAX && left >= WORTH_COLLECTING;
        let soft = self.limit.get().wrapping_sub(left / 4);
        self.soft.set(if worth_it { soft } else { usize::MAX });
        self.set_gate();
    }

    /// Growth beyond `bytes` in use is refused.
    pub fn set_limit(&self, bytes: usize) {
        if self.limit.replace(bytes) != bytes {
            self.collect_later();
        }
    }

    /// A call begins: what was refused before is forgotten.
    pub fn begin(&self) {
        self.refusals.set(0);
        self.over.set(false);
        self.beyond.set(0);
        self.stack_refused.set(None);
        if self.last_refusal.take().is_some() {
            self.set_gate();
        }
    }

    /// Nothing is being stopped any more.
    #[inline]
    pub fn settle(&self) {
        self.awaited.settle();
        // A gate that is open says that nothing but these two can be left.
        if self.gate.get() != 0 && !self.over.get() && self.beyond.get() == 0 {
            return;
        }
        self.over.set(false);
        self.beyond.set(0);
        self.refuse_next.set(false);
        self.falling.set(None);
        self.exempt.set(false);
        self.set_gate();
    }

    /// What was just refused was for a stack.
    pub fn refused_stack(&self, growth: usize) {
        self.stack_refused.set(Some(StackRefused {
            growth,
            wanted: self.used.get().saturating_add(growth),
            for_good: false,
        }));
    }

    /// Whether [`ran_out_unseen`](Self::ran_out_unseen) may tell anything.
    pub fn may_have_run_out(&self) -> bool {
        self.stack_refused.get().is_some()
    }

    /// In a hook: how many bytes would be in use, had a stack not been refused. None: that has been granted since then, or is known.
    pub fn ran_out_unseen(&self) -> Option<usize> {
        let refused = self.stack_refused.take()?;
        (!self.over.replace(true)).then_some(refused.wanted)
    }

    /// Whether growth has been refused in this call.
    pub fn has_refused(&self) -> bool {
        self.refusals.get() != 0
    }

    /// Has the next growth refused, or no longer.
    pub fn refuse_next(&self, yes: bool) {
        self.refuse_next.set(yes);
        self.set_gate();
    }

    /// LuaJIT: an error of ours is on its way, or no longer.
    pub fn fall(&self, yes: bool) {
        if cfg!(feature = "luajit") && (yes || self.falling.get().is_some()) {
            self.falling.set(yes.then_some(0));
            self.set_gate();
        }
    }

    /// Growth from now on is ours, and not limited; or that is over.
    pub fn exempt(&self, yes: bool) {
        self.exempt.set(yes);
        self.set_gate();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    unsafe extern "C" fn none(_: *mut c_void, _: *mut c_void, _: usize, _: usize) -> *mut c_void {
        ptr::null_mut()
    }

    #[test]
    fn long_texts_are_refused_while_an_error_is_on_its_way() {
        let memory = Memory::new((none, ptr::null_mut()), 1 << 20);
        let refused =
            |growth| memory.ask(growth, usize::MAX, true, || false, || false) == Answer::Refused;
        let luajit = cfg!(feature = "luajit");
        for _ in 0..2 {
            memory.fall(true);
            assert_eq!(memory.is_plenty(50), !luajit);
            assert!((1..25).all(|n| !refused(n * 40)));
            assert_eq!(refused(1000), luajit);
            assert_eq!(refused(1000), luajit);
            assert!(!refused(24 << 10) && !refused(1000), "no text");
            memory.fall(true);
            memory.fall(false);
            assert!(!refused(100) && memory.is_plenty(100));
        }
        assert!(!memory.has_refused());
    }

    #[test]
    fn a_table_of_strings_is_granted_beyond_the_limit_on_luajit() {
        let memory = Memory::new((none, ptr::null_mut()), 1 << 20);
        let limit = (1 << 20) + 100;
        memory.set_limit(limit);
        memory.begin();
        let ask = |growth, is_new| memory.ask(growth, limit, is_new, || false, || false);
        let beyond = match cfg!(feature = "luajit") {
            true => Answer::GrantedBeyond,
            false => Answer::RanOut,
        };
        assert!(ask(8192, true) == beyond);
        memory.settle();
        for (growth, is_new) in [(8192, false), (8193, true), (512, true), (1 << 20, true)] {
            assert!(ask(growth, is_new) == Answer::RanOut, "{growth} {is_new}");
            memory.settle();
        }
        // Not for ever.
        let granted = (0..1000).filter(|_| ask(8192, true) == Answer::GrantedBeyond);
        assert!(granted.count() * 8192 <= limit / 2);
    }
}
