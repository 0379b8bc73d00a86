//! A handler of SIGURG that the host installed earlier is still called, on the stack that it has asked for. A process has one action per signal, so this test has a process to itself.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use watchdog::poke::{self, Thread};

static HOST: AtomicU32 = AtomicU32::new(0);
static OURS: AtomicU32 = AtomicU32::new(0);
/// Where the host's handler has been.
static PLACE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn host(signal: libc::c_int) {
    assert_eq!(signal, libc::SIGURG);
    HOST.fetch_add(1, SeqCst);
    PLACE.store((&raw const signal).addr(), SeqCst);
}

fn ours() {
    OURS.fetch_add(1, SeqCst);
}

#[test]
fn an_earlier_handler_is_still_called() {
    // A signal stack, as a runtime has it whose own stacks are small. (Go's, of 32 KB, is for this signal above all.)
    let stack = vec![0_u8; 1 << 16].leak().as_mut_ptr_range();
    // SAFETY: `host` uses atomics only; the stack is this thread's alone, and stays.
    unsafe {
        let alternate = libc::stack_t {
            ss_sp: stack.start.cast(),
            ss_flags: 0,
            ss_size: 1 << 16,
        };
        assert_eq!(libc::sigaltstack(&alternate, std::ptr::null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = host as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()),
            0
        );
    }
    let me = Thread::current();
    assert!(me.poke());
    assert_eq!((HOST.load(SeqCst), OURS.load(SeqCst)), (1, 0));
    // SAFETY: `ours` uses an atomic only.
    unsafe { poke::on_poke(ours).unwrap() };
    assert!(me.poke());
    assert_eq!((HOST.load(SeqCst), OURS.load(SeqCst)), (2, 1));
    let range = stack.start.addr()..stack.end.addr();
    assert!(range.contains(&PLACE.load(SeqCst)));
}
