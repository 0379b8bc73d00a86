//! `table.sort` by `<`. With a comparison of the script's, the original does it, which calls that again and again.
//!
//! It is the quicksort of the version: so what metamethods see of it is the same, and which order is found to be none. The pivots of 5.3 and later may be random, as
//! theirs, if a partition has been very uneven.
//!
//! Comparing two long strings takes as long as they are the same. So a comparison with a long pivot counts for more.

use super::dialect::{self, Index, needs};
use super::{BETWEEN, original};
use crate::stdlib::{dialect as string, steps};
use crate::sys::{self, lua_State};
use std::ffi::{CStr, c_int};

/// Pivots are random where one partition has been very uneven.
const RANDOM: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));

const NO_ORDER: &CStr = c"invalid order function for sorting";

/// As many bytes of a pivot as it takes time to fetch an element, or more.
const BYTES_A_COMPARISON: usize = 1 << 10;

/// `table.sort`
pub unsafe extern "C-unwind" fn sort(l: *mut lua_State) -> c_int {
    // SAFETY: a C function called by Lua; nothing here owns anything.
    unsafe {
        string::may_nest(l);
        if sys::lua_isnoneornil(l, 2) == 0 {
            return original(l, |stock| stock.tables.sort);
        }
        let n = dialect::length(l, needs::ALL);
        if cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"))
            && n >= Index::from(c_int::MAX)
        {
            return sys::luaL_argerror(l, 1, c"array too big".as_ptr());
        }
        sys::lua_settop(l, 1);
        let mut sorter = Sorter {
            l,
            left: BETWEEN as isize,
            weight: 1,
        };
        sorter.sort(1, n, 0);
    }
    0
}

struct Sorter {
    l: *mut lua_State,
    /// Until the next look.
    left: isize,
    /// What a comparison counts for.
    weight: isize,
}

impl Sorter {
    #[inline(always)]
    unsafe fn get(&self, i: Index) {
        // SAFETY: by the caller, `sort`: the first argument has been checked; there are free slots.
        unsafe { dialect::get(self.l, 1, i) };
    }

    /// Pops two values, and makes them elements: the upper one at `i`.
    #[inline(always)]
    unsafe fn set2(&self, i: Index, j: Index) {
        // SAFETY: as `get`.
        unsafe {
            dialect::set(self.l, 1, i);
            dialect::set(self.l, 1, j);
        }
    }

    #[inline(always)]
    unsafe fn pop(&self, n: c_int) {
        // SAFETY: by the caller: so many values are above the argument.
        unsafe { sys::lua_settop(self.l, -n - 1) };
    }

    #[inline(always)]
    unsafe fn is_less(&mut self, a: c_int, b: c_int) -> bool {
        self.left -= self.weight;
        // SAFETY: by the caller.
        unsafe {
            if self.left <= 0 {
                self.left = BETWEEN as isize;
                steps::look_up(self.l);
            }
            dialect::is_less(self.l, a, b)
        }
    }

    /// A comparison with the value on top counts for this.
    #[inline(always)]
    unsafe fn weigh(&mut self) {
        // SAFETY: by the caller. Of a string, this changes nothing.
        unsafe {
            self.weight = 1;
            if sys::lua_type(self.l, -1) == sys::LUA_TSTRING {
                let mut size = 0;
                sys::lua_tolstring(self.l, -1, &mut size);
                self.weight += (size / BYTES_A_COMPARISON) as isize;
            }
        }
    }

    #[cold]
    unsafe fn no_order(&self) {
        // SAFETY: by the caller.
        unsafe { sys::luaL_error(self.l, NO_ORDER.as_ptr()) };
    }

    /// Sorts the elements at `lo`, `middle` and `up`; those at `lo` and `up` are already.
    #[inline(always)]
    unsafe fn sort_middle(&mut self, lo: Index, middle: Index, up: Index) {
        // SAFETY: by the caller, `sort`.
        unsafe {
            self.get(middle);
            self.get(lo);
            if self.is_less(-2, -1) {
                self.set2(middle, lo);
                return;
            }
            self.pop(1);
            self.get(up);
            if self.is_less(-1, -2) {
                self.set2(middle, up);
            } else {
                self.pop(2);
            }
        }
    }

    /// Sorts from `lo` to `up`, with pivots from somewhere; 0: from the middle. It calls itself for the smaller part, so thirty levels deep at most.
    unsafe fn sort(&mut self, mut lo: Index, mut up: Index, mut random: u32) {
        // SAFETY: by the caller.
        unsafe {
            while lo < up {
                self.get(lo);
                self.get(up);
                self.weigh();
                if self.is_less(-1, -2) {
                    self.set2(lo, up);
                } else {
                    self.pop(2);
                }
                if up - lo == 1 {
                    return;
                }
                let middle = pivot(lo, up, random);
                self.sort_middle(lo, middle, up);
                if up - lo == 2 {
                    return;
                }
                self.get(middle);
                self.weigh();
                sys::lua_pushvalue(self.l, -1);
                self.get(up - 1);
                self.set2(middle, up - 1);
                let p = self.partition(lo, up);
                let smaller = if p - lo < up - p {
                    self.sort(lo, p - 1, random);
                    let smaller = p - lo;
                    lo = p + 1;
                    smaller
                } else {
                    self.sort(p + 1, up, random);
                    let smaller = up - p;
                    up = p - 1;
                    smaller
                };
                if RANDOM && (up - lo) / 128 > smaller {
                    random = any_number();
                }
            }
        }
    }

    /// Has what is less than the pivot, which is on top and at `up - 1`, before it, and what is greater behind it. Returns where the pivot is then.
    #[inline(always)]
    unsafe fn partition(&mut self, lo: Index, up: Index) -> Index {
        let (mut i, mut j) = (lo, up - 1);
        // SAFETY: by the caller, `sort`.
        unsafe {
            loop {
                i += 1;
                self.get(i);
                while self.is_less(-1, -2) {
                    if is_beyond(i, up) {
                        self.no_order();
                    }
                    self.pop(1);
                    i += 1;
                    self.get(i);
                }
                j -= 1;
                self.get(j);
                while self.is_less(-3, -1) {
                    if is_before(j, lo, i) {
                        self.no_order();
                    }
                    self.pop(1);
                    j -= 1;
                    self.get(j);
                }
                if j < i {
                    break;
                }
                self.set2(i, j);
            }
            self.put_pivot(i, up);
        }
        i
    }

    /// The pivot, which is at `up - 1`, changes places with the element at `i`. On the stack are the pivot and the elements at `i` and before.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    #[inline(always)]
    unsafe fn put_pivot(&mut self, i: Index, up: Index) {
        // SAFETY: by the caller, `partition`.
        unsafe {
            self.pop(1);
            self.set2(up - 1, i);
        }
    }

    #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
    #[inline(always)]
    unsafe fn put_pivot(&mut self, i: Index, up: Index) {
        // SAFETY: by the caller, `partition`.
        unsafe {
            self.pop(3);
            self.get(up - 1);
            self.get(i);
            self.set2(up - 1, i);
        }
    }
}

/// Where the pivot is taken from.
#[inline(always)]
fn pivot(lo: Index, up: Index, random: u32) -> Index {
    if RANDOM && up - lo >= 100 && random != 0 {
        let quarter = (up - lo) / 4;
        return (random >> 1) as Index % (quarter * 2) + lo + quarter;
    }
    lo.wrapping_add(up) / 2
}

/// A number that a script cannot foresee, not 0.
#[cold]
fn any_number() -> u32 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it is written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_nsec as u32).wrapping_mul(0x9e37_79b9) | 1
}

/// Whether an element at `i` that is less than the pivot shows that there is no order.
#[inline(always)]
fn is_beyond(i: Index, up: Index) -> bool {
    if cfg!(feature = "lua51") {
        i > up
    } else if cfg!(any(feature = "lua52", feature = "luajit")) {
        i >= up
    } else {
        i == up - 1
    }
}

/// Whether an element at `j` that is greater than the pivot does.
#[inline(always)]
fn is_before(j: Index, lo: Index, i: Index) -> bool {
    if cfg!(feature = "lua51") {
        j < lo
    } else if cfg!(any(feature = "lua52", feature = "luajit")) {
        j <= lo
    } else {
        j < i
    }
}
