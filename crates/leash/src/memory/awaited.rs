//! What Lua needs before it calls our hook is granted beyond the memory limit.
//!
//! Lua makes room on the stack for a hook, and a function that is called needs its `CallInfo` before its first instruction meets the hook. Refused, either raises an error of Lua's own. That is no
//! matter where the code that catches it meets the hook, too. But in a finalizer a protected call that ends switches hooks off again ([`crate::hookless`]), and if all that happens in it is a refusal,
//! the time goes into the collection that Lua tries before it gives up: nearly all deliveries land there, in vain. A finalizer with `while true do pcall(f) end` outlived
//! its timeout by minutes, because there was no memory for the `CallInfo` of `f`.
//!
//! So while a stop is overdue, from the delivery that switches hooks on until the hook is there, and while an error of ours is on its way, a state may have [`ROOM`] more than its
//! limit, and what stacks grow by besides, which do by doubling, up to the limit once more. These are bounds of what is in use, not of each request: however often a script is stopped, it never has more. And it
//! has that for the few instructions until it meets the hook.
//!
//! Where a limit is the only one, that changes nothing but the end: what was refused for good is what the stop is for.

use std::cell::Cell;

/// Some calls, and the texts of their errors.
const ROOM: usize = 64 << 10;

#[derive(Default)]
pub struct Awaited {
    /// The hook is on its way.
    now: Cell<bool>,
    /// Bytes granted for stacks, besides, since nothing was being stopped.
    stacks: Cell<usize>,
}

impl Awaited {
    /// A stop is overdue, and the hook is set, or an error of ours is on its way. **Signal context.**
    pub fn begin(&self) {
        self.now.set(true);
    }

    /// The hook runs.
    #[inline]
    pub fn end(&self) {
        self.now.set(false);
    }

    /// Nothing is being stopped any more.
    #[inline]
    pub fn settle(&self) {
        self.now.set(false);
        self.stacks.set(0);
    }

    /// Whether growth beyond the limit is granted.
    pub fn grants(
        &self,
        used: usize,
        growth: usize,
        limit: usize,
        is_stack: impl FnOnce() -> bool,
    ) -> bool {
        // A limit of zero is that of a state that is being closed, and of which nobody gets any more.
        if !self.now.get() || limit == 0 {
            return false;
        }
        let stacks = self.stacks.get();
        let most = limit.saturating_add(ROOM).saturating_add(stacks);
        if used.saturating_add(growth) <= most {
            return true;
        }
        // A stack is in use, so it is no larger than the limit, and neither is what it grows by.
        let fits = stacks.saturating_add(growth) <= limit && used <= most;
        let granted = fits && is_stack();
        if granted {
            self.stacks.set(stacks + growth);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn grants(awaited: &Awaited, used: usize, growth: usize, is_stack: bool) -> bool {
        awaited.grants(used, growth, LIMIT, || is_stack)
    }

    #[test]
    fn nothing_unless_the_hook_is_on_its_way() {
        let awaited = Awaited::default();
        for _ in 0..2 {
            assert!(!grants(&awaited, LIMIT, 1, false) && !grants(&awaited, LIMIT, 1, true));
            awaited.begin();
            assert!(grants(&awaited, LIMIT, 1, false));
            awaited.end();
        }
    }

    #[test]
    fn what_is_in_use_is_bounded() {
        let awaited = Awaited::default();
        let mut used = LIMIT;
        for _ in 0..100_000 {
            awaited.begin();
            if grants(&awaited, used, 40, false) {
                used += 40;
            }
            awaited.end();
        }
        assert!(used > LIMIT + ROOM / 2 && used <= LIMIT + ROOM);
    }

    #[test]
    fn stacks_grow_until_all_is_settled() {
        let awaited = Awaited::default();
        awaited.begin();
        let (mut used, half) = (LIMIT, LIMIT / 2);
        assert!(!grants(&awaited, used, half, false));
        for _ in 0..2 {
            assert!(grants(&awaited, used, half, true));
            used += half;
            awaited.end();
            awaited.begin();
        }
        assert!(grants(&awaited, used, 40, false), "the room is there still");
        assert!(!grants(&awaited, used, half, true), "not for ever");
        awaited.settle();
        awaited.begin();
        assert!(grants(&awaited, LIMIT, half, true));
    }

    #[test]
    fn nothing_where_nobody_gets_any_more() {
        let awaited = Awaited::default();
        awaited.begin();
        assert!(!awaited.grants(100, 40, 0, || true));
    }
}
