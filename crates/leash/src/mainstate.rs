//! 5.1 and LuaJIT: the main state, from inside a coroutine.
//!
//! From 5.2 on the registry names it. Before, the C API only says whether a given coroutine is it (`lua_pushthread`). But the
//! main state is the first object that a state makes, and the collector's list of all objects has the newest in front; what is linked
//! behind the main state is userdata (`luaS_newudata`; `lj_udata_new` in LuaJIT). So the last coroutine on the list is the main state.
//! The list is entered as in [`crate::older`], at a coroutine that has just been made.
//!
//! Nothing is guessed: where the link and the type tag of an object are is seen by making two coroutines one after the other, of
//! which the second must lead to the first, and the candidate is asked whether it is the main state.

use crate::sys::{self, lua_State};
use std::ffi::{c_int, c_void};
use std::ptr;

/// The main state of the state that `l` belongs to; none if it was not found, or there is no memory to look for it.
///
/// # Safety
/// `l` runs on this thread, inside a C function, and has free stack.
pub unsafe fn find(l: *mut lua_State) -> Option<*mut lua_State> {
    let mut found: *mut lua_State = ptr::null_mut();
    // SAFETY: by the caller; `search` takes the address of a pointer.
    unsafe {
        if sys::protected(l, search, (&raw mut found).cast()) != 0 {
            sys::lua_settop(l, -2);
        }
    }
    (!found.is_null()).then_some(found)
}

/// How objects begin: the size of the link to the next one, and the offset of the type tag.
#[derive(Clone, Copy)]
struct Shape {
    link: usize,
    tag: usize,
}

/// PUC Lua, LuaJIT with 64-bit references, and with 32-bit ones (`CommonHeader`, `GCHeader`).
const SHAPES: &[Shape] = if cfg!(feature = "luajit") {
    &[Shape { link: 8, tag: 9 }, Shape { link: 4, tag: 5 }]
} else {
    &[Shape {
        link: size_of::<usize>(),
        tag: sys::TYPE_TAG_OFFSET,
    }]
};

impl Shape {
    /// # Safety
    /// `object` is a collectable object of this shape, or as large.
    unsafe fn next(self, object: *const u8) -> *const u8 {
        // SAFETY: by the caller.
        unsafe {
            if self.link == 4 {
                object.cast::<u32>().read() as usize as *const u8
            } else {
                object.cast::<*const u8>().read()
            }
        }
    }

    /// # Safety
    /// As [`next`](Shape::next).
    unsafe fn tag(self, object: *const u8) -> u8 {
        // SAFETY: by the caller.
        unsafe { object.add(self.tag).read() }
    }
}

/// **longjmp**: `lua_newthread` may raise; nothing here owns anything.
unsafe extern "C-unwind" fn search(l: *mut lua_State) -> c_int {
    // SAFETY: `find` passes the address of its result. A C function has LUA_MINSTACK free slots. Objects on the list are whole,
    // and nothing runs between the making of the second coroutine and the end of the walk.
    unsafe {
        let found = sys::lua_touserdata(l, 1).cast::<*mut lua_State>();
        // A finalizer that runs in between may make objects of its own.
        for _ in 0..4 {
            let older: *const u8 = sys::lua_newthread(l).cast();
            let newer: *const u8 = sys::lua_newthread(l).cast();
            for shape in SHAPES {
                if shape.next(newer) == older && shape.tag(newer) == shape.tag(older) {
                    *found = last_coroutine(newer, *shape);
                    return 0;
                }
            }
            sys::lua_settop(l, 1);
        }
    }
    0
}

/// The last coroutine on the list, if it is the main state; else null.
unsafe fn last_coroutine(newest: *const u8, shape: Shape) -> *mut lua_State {
    let mut last = newest;
    // SAFETY: by the caller. The candidate is a live coroutine; a slot of its stack is used for a moment.
    unsafe {
        let tag = shape.tag(newest);
        let mut object = newest;
        while !object.is_null() {
            if shape.tag(object) == tag {
                last = object;
            }
            object = shape.next(object);
        }
        let last: *mut lua_State = last.cast::<c_void>().cast_mut().cast();
        let is_main = sys::lua_pushthread(last) != 0;
        sys::lua_settop(last, -2);
        if is_main { last } else { ptr::null_mut() }
    }
}
