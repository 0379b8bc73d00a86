//! What the allocator keeps for later: small blocks that Lua has given back. They are the host's.

#![cfg(not(leash_no_spares))] // a build for sanitizers keeps nothing

mod common;
use common::host::Host;
use leash::{Guest, Limits, Reason, Vm, sys};
use std::ffi::{CStr, c_void};
use std::ptr;

const GARBAGE: &CStr = c"for i = 1, 10000 do local _ = { i } end";

/// Runs it, without limits.
fn run(l: *mut sys::lua_State, code: &CStr) {
    // SAFETY: a live state on this thread.
    unsafe {
        assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
        assert_eq!(sys::lua_pcall(l, 0, 0, 0), 0);
    }
}

/// Small blocks that Lua gives back serve its next requests; after the detach all that Lua does not use is the host's again.
#[test]
fn what_is_kept_goes_back_to_the_host() {
    let host = Host::default();
    let l = host.state();
    let run = |code| run(l, code);
    let churn = c"for i = 1, 100000 do local _ = { i }; _ = i .. 'x' end collectgarbage()";
    // SAFETY: as above.
    unsafe {
        sys::luaL_openlibs(l);
        run(churn);
        let plain = host.asked.get();
        run(churn);
        let plain = host.asked.get() - plain;
        let vm = Vm::attach(l).unwrap();
        run(churn);
        let asked = host.asked.get();
        run(churn);
        let asked = host.asked.get() - asked;
        assert!(asked < plain / 2, "{asked} of {plain}");
        let in_use = || in_use(l);
        assert!(host.bytes.get() > in_use(), "nothing is kept");
        assert!(
            host.bytes.get() < in_use() * 4,
            "{} for {}",
            host.bytes.get(),
            in_use()
        );
        drop(vm);
        assert_eq!(host.bytes.get(), in_use());
        run(churn);
        sys::lua_close(l);
    }
    assert_eq!((host.blocks.get(), host.bytes.get()), (0, 0));
}

/// An allocator that passes on to another.
unsafe extern "C" fn pass_on(
    ud: *mut c_void,
    block: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: what `lua_getallocf` said, kept for as long as the state lives.
    unsafe {
        let (f, ud) = *ud.cast::<(sys::lua_Alloc, *mut c_void)>();
        f(ud, block, osize, nsize)
    }
}

/// Whoever puts an allocator in front of ours goes on calling it after the detach.
#[test]
fn nothing_is_kept_behind_an_allocator_that_stays() {
    let host = Host::default();
    let l = host.state();
    // SAFETY: a live state on this thread.
    unsafe {
        let vm = Vm::attach(l).unwrap();
        let mut behind = sys::allocator(l);
        sys::lua_setallocf(l, pass_on, (&raw mut behind).cast());
        sys::luaL_openlibs(l);
        run(l, GARBAGE);
        sys::gc(l, sys::LUA_GCCOLLECT);
        assert!(host.bytes.get() > in_use(l), "nothing is kept");
        drop(vm);
        assert_eq!(host.bytes.get(), in_use(l));
        sys::lua_close(l);
    }
    assert_eq!((host.blocks.get(), host.bytes.get()), (0, 0));
}

/// LuaJIT: the state of a guest, which is freed by a finalizer, outlives that where somebody goes on calling its allocator.
#[test]
fn an_allocator_in_front_of_a_guest_may_close_the_state() {
    let host = Host::default();
    let l = host.state();
    // SAFETY: a live state on this thread.
    unsafe {
        sys::luaL_openlibs(l);
        let _guest = Guest::attach(l).unwrap();
        let mut behind = sys::allocator(l);
        sys::lua_setallocf(l, pass_on, (&raw mut behind).cast());
        run(l, GARBAGE);
        sys::lua_close(l);
    }
    assert_eq!((host.blocks.get(), host.bytes.get()), (0, 0));
}

/// Some libraries that use the state's allocator do not say how large a block is.
#[test]
fn a_block_of_unknown_size_keeps_what_is_in_it() {
    let host = Host::default();
    let l = host.state();
    // SAFETY: a live state on this thread; the blocks have the sizes that are asked for.
    unsafe {
        let vm = Vm::attach(l).unwrap();
        let (f, ud) = sys::allocator(l);
        let spare = f(ud, ptr::null_mut(), 0, 64);
        f(ud, spare, 64, 0);
        let block = f(ud, ptr::null_mut(), 0, 32);
        block.cast::<u8>().write_bytes(7, 32);
        let block = f(ud, block, 0, 64);
        assert_ne!(block, spare);
        let bytes = std::slice::from_raw_parts(block.cast::<u8>(), 32);
        assert!(bytes.iter().all(|&byte| byte == 7));
        f(ud, block, 64, 0);
        drop(vm);
        sys::lua_close(l);
    }
    assert_eq!(host.blocks.get(), 0);
}

/// What is kept falls with what is in use, also where that is one large block.
#[test]
fn less_is_kept_where_large_blocks_go() {
    let host = Host::default();
    let l = host.state();
    let code = c"local large = {} for i = 1, 20 do large[i] = ('x'):rep(100000 + i) end
        local small = {} for i = 1, 20000 do small[i] = { i } end
        small = nil collectgarbage() collectgarbage()
        large = nil collectgarbage() collectgarbage()";
    // SAFETY: a live state on this thread.
    unsafe {
        sys::luaL_openlibs(l);
        let vm = Vm::attach(l).unwrap();
        run(l, code);
        let (held, used) = (host.bytes.get(), in_use(l));
        assert!(host.peak.get() > 4 * held, "{} for {used}", held);
        assert!(held < 4 * used, "{held} for {used}");
        drop(vm);
        sys::lua_close(l);
    }
    assert_eq!((host.blocks.get(), host.bytes.get()), (0, 0));
}

/// Bytes, as Lua counts them.
fn in_use(l: *mut sys::lua_State) -> usize {
    // SAFETY: asking reads two words of a live state.
    unsafe { sys::gc(l, sys::LUA_GCCOUNT) as usize * 1024 + sys::gc(l, sys::LUA_GCCOUNTB) as usize }
}

/// What a memory limit allows is what the host is asked for, too.
#[test]
fn what_is_kept_is_within_a_memory_limit() {
    let host = Host::default();
    let l = host.state();
    // Tables of one size first, and then of another. The string has what goes kept.
    let code = c"local large, t = ('x'):rep(1000000), {}
        for i = 1, 10000 do t[i] = { i } end t = nil collectgarbage() t = {}
        for i = 1, 1e6 do t[i] = { i, i, i, i, i, i } end";
    // SAFETY: a live state on this thread.
    unsafe {
        sys::luaL_openlibs(l);
        let vm = Vm::attach(l).unwrap();
        for _ in 0..3 {
            sys::gc(l, sys::LUA_GCCOLLECT);
            assert_eq!(sys::luaL_loadstring(l, code.as_ptr()), 0);
            let limit = 4 << 20;
            let most = in_use(l) + limit + 256; // what the call itself takes
            let stop = vm
                .call(l, 0, 0, 0, &Limits::new().memory(limit))
                .unwrap_err();
            assert_eq!(stop.reason, Reason::Memory);
            // LuaJIT: a table of strings may be granted beyond it.
            let beyond = if cfg!(feature = "luajit") {
                most / 8
            } else {
                0
            };
            assert!(
                host.peak.get() <= most + beyond,
                "{} of {most}",
                host.peak.get()
            );
            assert!(
                host.peak.get() > most / 4 * 3,
                "{} of {most}",
                host.peak.get()
            );
        }
        drop(vm);
        sys::lua_close(l);
    }
    assert_eq!((host.blocks.get(), host.bytes.get()), (0, 0));
}
