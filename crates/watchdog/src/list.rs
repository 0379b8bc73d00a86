//! Functions to call, in the order in which they were added; read in signal handlers and after a fork.
//!
//! A list that only grows at its end, of nodes that are never freed: a reader needs neither a lock nor a limit on how many
//! there are, and an interrupted writer leaves it whole. Adding a function that is there already does nothing. (The same
//! function may have two addresses in a program that was compiled in parts: then it is there twice, and is called twice.)
//!
//! What was rejected: a small fixed array, which would make a ninth function an error that somebody has to handle.

use crate::sync::{AtomicPtr, Ordering};
use std::ptr;

pub(crate) struct Node {
    f: fn(),
    next: AtomicPtr<Node>,
}

/// See the header.
pub(crate) struct List {
    first: AtomicPtr<Node>,
}

impl List {
    /// A list over a null pointer; an argument because loom's atomics cannot be made in a constant.
    pub(crate) const fn over(first: AtomicPtr<Node>) -> List {
        List { first }
    }

    /// Adds `f` at the end, unless it is there. Allocates.
    pub(crate) fn add(&self, f: fn()) {
        let mut place = &self.first;
        let mut new: *mut Node = ptr::null_mut();
        loop {
            // Acquire: the node was filled before it was published.
            let mut there = place.load(Ordering::Acquire);
            if there.is_null() {
                if new.is_null() {
                    new = Box::into_raw(Box::new(Node {
                        f,
                        next: AtomicPtr::new(ptr::null_mut()),
                    }));
                }
                // Release: publishes the node. Acquire on failure: as above.
                match place.compare_exchange(there, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return,
                    Err(other) => there = other,
                }
            }
            // SAFETY: published nodes are never freed.
            let node = unsafe { &*there };
            if ptr::fn_addr_eq(node.f, f) {
                if !new.is_null() {
                    // SAFETY: `new` was never published and is ours.
                    drop(unsafe { Box::from_raw(new) });
                }
                return;
            }
            place = &node.next;
        }
    }

    /// Calls each function. Async-signal-safe if they are.
    pub(crate) fn call(&self) {
        // Acquire, here and below: a node was filled before it was published.
        let mut next = self.first.load(Ordering::Acquire);
        while !next.is_null() {
            // SAFETY: published nodes are never freed.
            let node = unsafe { &*next };
            (node.f)();
            next = node.next.load(Ordering::Acquire);
        }
    }
}
