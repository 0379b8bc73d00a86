//! Many states on one thread, all late at the same time.
//!
//! The calls are inside each other: the code of each state calls a C function that calls into the next state, and loops for ever afterwards. In the last one the thread
//! sleeps until the deadline of all of them has passed. Then each state has to be stopped by itself, the last one first.

mod common;
use common::{SOON, ms};
use leash::sys::{self, lua_State};
use leash::{Limits, Reason, Vm};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::thread;
use std::time::Instant;

const STATES: usize = 8000;

thread_local! {
    /// Each state, with the function to call on its stack.
    static ALL: RefCell<Vec<(*mut lua_State, Vm)>> = const { RefCell::new(Vec::new()) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static STOPPED: Cell<usize> = const { Cell::new(0) };
    static DUE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Calls into this state.
fn open(index: usize) {
    let due = DUE.get().unwrap();
    let found = ALL.with_borrow(|all| {
        let (l, vm) = all.get(index)?;
        Some((*l, std::ptr::from_ref(vm))) // the vector does not change any more
    });
    let Some((l, vm)) = found else {
        return thread::sleep(due.saturating_duration_since(Instant::now()));
    };
    let limits = Limits::new().timeout(due.saturating_duration_since(Instant::now()));
    // SAFETY: the function is on the stack of a live state of this thread, and the state is attached.
    let stop = unsafe { (*vm).call(l, 0, 0, 0, &limits) }.unwrap_err();
    assert_eq!(stop.reason, Reason::Timeout);
    STOPPED.set(STOPPED.get() + 1);
}

/// No error of this state's passes here: its hook runs in its own code alone.
unsafe extern "C-unwind" fn descend(_: *mut lua_State) -> c_int {
    DEPTH.set(DEPTH.get() + 1);
    open(DEPTH.get());
    0
}

fn on_this_thread() {
    for _ in 0..STATES {
        // SAFETY: a new state on this thread, closed below.
        unsafe {
            let l = sys::luaL_newstate();
            let vm = Vm::attach(l).unwrap();
            sys::lua_pushcfunction(l, descend);
            sys::lua_setglobal(l, c"descend".as_ptr());
            let code = b"descend() while true do end";
            let status = sys::luaL_loadbuffer(l, code.as_ptr().cast(), code.len(), c"=".as_ptr());
            assert_eq!(status, 0);
            ALL.with_borrow_mut(|all| all.push((l, vm)));
        }
    }
    let due = Instant::now() + ms(1000);
    DUE.set(Some(due));
    open(0);
    assert!(due.elapsed() < SOON, "{:?}", due.elapsed());
    assert_eq!(STOPPED.get(), STATES);
    for (l, vm) in ALL.take() {
        drop(vm);
        // SAFETY: nothing runs in it.
        unsafe { sys::lua_close(l) };
    }
}

/// The thread had the processor for its signal handler alone: for each state it noted that it had had little to do, and so nobody gave it a rest.
#[test]
fn thousands_of_states_are_late_at_the_same_time() {
    let thread = thread::Builder::new().stack_size(2 << 30);
    thread.spawn(on_this_thread).unwrap().join().unwrap();
}
