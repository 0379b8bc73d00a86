//! A handler of SIGURG that the host installed earlier is still called. A process has one action per signal, so this test has a process to itself.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use watchdog::poke::{self, Thread};

static HOST: AtomicU32 = AtomicU32::new(0);
static OURS: AtomicU32 = AtomicU32::new(0);

extern "C" fn host(signal: libc::c_int) {
    assert_eq!(signal, libc::SIGURG);
    HOST.fetch_add(1, SeqCst);
}

fn ours() {
    OURS.fetch_add(1, SeqCst);
}

#[test]
fn an_earlier_handler_is_still_called() {
    // SAFETY: `host` uses an atomic only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = host as extern "C" fn(libc::c_int) as usize;
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
}
