//! Reading memory of which it is not known how far it reaches: the system is asked to copy it, which stops at the end instead of crashing.

use std::ffi::c_int;

/// Up to `count` words from this address on, as far as there is memory.
#[cfg(target_os = "linux")]
pub fn words(address: usize, count: usize) -> Vec<c_int> {
    const PAGE: usize = 4096;
    let mut words = vec![0 as c_int; count];
    let mut at = address;
    let mut left = size_of_val(&words[..]);
    // One piece for each page: what is copied ends between two pieces.
    let mut pieces = Vec::new();
    while left > 0 {
        let len = (PAGE - at % PAGE).min(left);
        pieces.push(libc::iovec {
            iov_base: std::ptr::without_provenance_mut(at),
            iov_len: len,
        });
        at = at.wrapping_add(len);
        left -= len;
    }
    let local = libc::iovec {
        iov_base: words.as_mut_ptr().cast(),
        iov_len: size_of_val(&words[..]),
    };
    // SAFETY: `local` is memory of ours; what cannot be read is an error of the call.
    let copied = unsafe {
        libc::process_vm_readv(
            libc::getpid(),
            &local,
            1,
            pieces.as_ptr(),
            pieces.len() as _,
            0,
        )
    };
    words.truncate(usize::try_from(copied).unwrap_or(0) / size_of::<c_int>());
    words
}

#[cfg(not(target_os = "linux"))]
pub fn words(_: usize, _: usize) -> Vec<c_int> {
    Vec::new()
}
