//! A few coroutines, noted by a signal handler.

use crate::sys::lua_State;
use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

/// Most finalizers and hooks inside each other, one in each coroutine, that are known of at a time. The next delivery finds more.
pub const MOST: usize = 8;

/// Their addresses. Some may be gone.
#[derive(Default)]
pub struct Few {
    pub(super) places: [Cell<usize>; MOST],
    pub(super) count: Cell<usize>,
}

impl Few {
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    pub fn clear(&self) {
        self.count.set(0);
    }

    /// **Signal context.** The count last: who is interrupted in the middle of a look sees whole entries. Where there is no room, `co` takes the place of one that does
    /// not run any more: those that a stop has ended in a hook of theirs, and there may be thousands, are not to keep out the finalizer that makes them. Else that of the
    /// outermost, if `co` is farther in: an error ends the innermost first, and then there is room again. `depth`: the greater the farther in; none: it does not run.
    pub fn note(&self, co: *mut lua_State, depth: impl Fn(*mut lua_State) -> Option<usize>) {
        let n = self.count.get();
        if self.has(co) {
            return;
        }
        if n < MOST {
            self.places[n].set(co as usize);
            compiler_fence(Ordering::SeqCst);
            self.count.set(n + 1);
        } else {
            let depth_of = |k: &&Cell<usize>| depth(k.get() as *mut lua_State);
            let outermost = self.places.iter().min_by_key(depth_of);
            let gives_way = |k: &&Cell<usize>| depth_of(k).is_none() || depth_of(k) < depth(co);
            if let Some(place) = outermost.filter(gives_way) {
                place.set(co as usize);
            }
        }
    }

    pub fn has(&self, co: *mut lua_State) -> bool {
        self.each().any(|known| known == co)
    }

    pub fn each(&self) -> impl Iterator<Item = *mut lua_State> {
        let places = self.places[..self.count.get()].iter();
        places.map(|co| co.get() as *mut lua_State)
    }
}
