//! Which thread a state is on, when no call of ours is open.
//!
//! Inside [`crate::Vm::call`] the thread is known. A state that is guarded by a module ([`crate::Guest`]) is run by its host from
//! whichever thread it likes, and nothing tells us. Two facts together do:
//!
//! - **The allocator follows.** Every state allocates all the time; our allocator compares the thread that it is called on with the
//!   one that it remembers, and takes note of a new one. So a poke goes to the thread on which the state was last active. What is
//!   compared is the thread pointer, a register: the kernel's id lies in a thread-local, which takes a function call in a library, and
//!   made code that allocates all the time 5 % slower. The next thread may get the same pointer; so one that ends is forgotten.
//! - **The C stack shows.** While a state runs, one word of the running coroutine (`jump`, [`crate::layout`]) points into the stack of
//!   the thread that runs it. A handler that does not find such a coroutine touches nothing: the state is idle, or elsewhere,
//!   and the request waits until a later poke finds it running.
//!
//! What could go wrong: the state moves to another thread while a handler on the old one looks at it. So a handler counts itself in before
//! it looks, and checks again that the state is still this thread's; and the new thread, at its first allocation, takes the state
//! over and then waits until no handler is counted in. From that allocation on, and only from then on, memory of the state
//! changes; before it, a handler that looks finds the state not running on its own stack.

use crate::record::{RECORDS, thread_identity};
use crate::state::State;
use crate::sys::{self, lua_State};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use watchdog::poke::Thread;

/// Lowest and highest address of a thread's stack.
pub type Stack = (usize, usize);

thread_local! {
    /// The stack of this thread, once asked for. (The answer takes reading a file on the first thread of a process.)
    static STACK: Cell<Stack> = const { Cell::new((0, 0)) };
}

/// The calling thread's stack; empty if the system does not tell.
fn stack() -> Stack {
    let known = STACK.get();
    if known.1 != 0 {
        return known;
    }
    let mut found = (0, 0);
    let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: `pthread_getattr_np` initialises the attributes of the calling thread if it returns 0; they are destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()) == 0 {
            let (mut low, mut size) = (std::ptr::null_mut(), 0);
            if libc::pthread_attr_getstack(attr.as_ptr(), &mut low, &mut size) == 0 {
                found = (low as usize, low as usize + size);
            }
            libc::pthread_attr_destroy(attr.as_mut_ptr());
        }
    }
    STACK.set(found);
    found
}

/// So much of it is left to others: to LuaJIT's throwing of errors, to the host's functions, to signal handlers.
pub const STACK_RESERVE: usize = 256 << 10;

/// How much is left of the calling thread's stack; none if that cannot be told, as on a stack that the host has made.
pub fn stack_room() -> Option<usize> {
    let (low, high) = stack();
    let here = (&raw const low).addr();
    (low..high).contains(&here).then(|| here - low)
}

/// Handlers that are looking at a state right now.
#[derive(Default)]
pub struct Inspectors(AtomicU32);

impl Inspectors {
    /// Counts the calling handler in. **Signal context.**
    ///
    /// SeqCst, with the look at the owner that follows, and with the owner's store and the look here on the other side
    /// ([`State::follow_to_this_thread`]): one of the two sees the other.
    pub fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts it out. Release: what it did is over for whoever sees the count.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// In the child of a fork: handlers of other threads are not there.
    pub fn none_after_fork(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn wait_for_none(&self) {
        while self.0.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
    }
}

/// The address of the calling thread's control block, which is what `pthread_self` returns; a register holds it.
#[inline(always)]
fn thread_pointer() -> usize {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        let pointer: usize;
        // SAFETY: the ABI of x86-64 for thread-local storage: the first word of the block is its own address.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
        }
        pointer
    }
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    {
        let pointer: usize;
        // SAFETY: the register is readable everywhere.
        unsafe {
            std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, readonly));
        }
        pointer
    }
    #[cfg(not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    thread_identity()
}

/// A thread that has run states is ending: the next one may get the same control block.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        let me = thread_pointer();
        RECORDS.for_each_used(|r| {
            // Relaxed: a word of its own. Only another thread with this pointer must see it, and it begins after this one ended.
            let _ = r
                .home
                .compare_exchange(me, 0, Ordering::Relaxed, Ordering::Relaxed);
        });
    }
}

thread_local! {
    static EXIT: Exit = const { Exit };
}

impl State {
    /// Asked by the allocator: has the state come to another thread, which must take it over?
    #[inline(always)]
    pub fn is_elsewhere(&self) -> bool {
        self.follows.get() && self.record().home.load(Ordering::Relaxed) != thread_pointer()
    }

    /// This thread runs the state from now on.
    #[cold]
    pub fn follow_to_this_thread(&self) {
        let me = Thread::current().to_bits();
        self.record().owner.store(me, Ordering::SeqCst);
        self.record().inspectors.wait_for_none();
        self.record().has_not_walked();
        self.pthread.set(thread_identity());
        self.stack.set(stack());
        self.record().watching.sampling.follow();
        // A thread that is past its thread-local values cannot be seen to end, so it is not remembered.
        let seen = EXIT.try_with(|_| ()).is_ok();
        let home = if seen { thread_pointer() } else { 0 };
        self.record().home.store(home, Ordering::Relaxed);
    }

    /// Whether a coroutine of this state is running on this thread's stack. **Signal context.**
    ///
    /// LuaJIT: where the host itself resumes a coroutine, the main state does not run, and most coroutines are not known; but those are in
    /// which a call is open, and those that are watched or have an id.
    pub fn runs_here(&self) -> bool {
        // Nearly always the main state runs, or waits for a coroutine that does; then this is soon told.
        if self.is_on_this_stack(self.main.get()) {
            return true;
        }
        if sys::HOOK_PER_COROUTINE {
            self.allocator_is_ours()
                && self.coroutines.any(|co, _| {
                    // SAFETY: in the set: see `for_each_live`.
                    self.is_on_this_stack(co)
                        && self.is_coroutine(co)
                        && unsafe { sys::is_initialised(co) }
                })
        } else {
            let caller = self.scope_state.get();
            self.coroutines.any(|co, _| self.is_on_this_stack(co))
                || !caller.is_null() && self.is_on_this_stack(caller)
        }
    }

    /// Whether a coroutine, or one that it has resumed, is running on this thread's stack. **Signal context.**
    pub fn is_on_this_stack(&self, co: *mut lua_State) -> bool {
        let (low, high) = self.stack.get();
        // SAFETY: live, or a zeroed block of a coroutine's size.
        let jump = unsafe { self.layout.get().jump_of(co) };
        jump.is_some_and(|j| (low..high).contains(&j))
    }
}

#[cfg(test)]
mod tests {
    use crate::guest::Guest;
    use crate::sys;
    use std::time::Duration;
    use watchdog::Ticks;

    /// The rest is the thread's that has walked, and a delivery that was under way there is not the other's.
    #[test]
    fn a_state_that_changes_threads_has_not_walked() {
        // SAFETY: a new state; one thread uses it at a time.
        let l = unsafe { sys::luaL_newstate() } as usize;
        // SAFETY: as above.
        let attach = move || unsafe { Guest::attach(l as *mut sys::lua_State).unwrap() };
        let guest = attach();
        let (record, now) = (guest.state().record(), Ticks::now());
        for under_way in [false, true] {
            record.walks(now);
            if !under_way {
                record.walked(Duration::from_secs(5), now);
            }
            assert!(record.rests(Ticks::now()));
            let rests = std::thread::spawn(move || {
                let guest = attach();
                guest.state().follow_to_this_thread();
                guest.state().record().rests(Ticks::now())
            });
            assert!(!rests.join().unwrap());
            guest.state().follow_to_this_thread();
        }
        // SAFETY: nobody uses it any more.
        unsafe { sys::lua_close(l as *mut sys::lua_State) };
    }
}
