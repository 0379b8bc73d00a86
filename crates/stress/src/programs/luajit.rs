//! The programs of LuaJIT alone: what the compiler does, and what code can only do there.
//!
//! They switch the compiler on and off and throw its code away; what they compute is compared with what the interpreter computes. `FFI` is the library `ffi`, with
//! what these programs declare declared.

use super::{Program, Scenario};

const fn jit(code: &'static str) -> Program {
    Program::on("luajit", code)
}

/// See [`super::scenarios`].
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "compiling",
        values: &[
            jit("local N = ... local s = 0 for k = 1, 60 do local f = loadstring('local s = ' .. k * N .. ' for i = 1, 300 do s = (s * 3 + i) % 65537 if i % 7 == 0 then s = s + 1 end end return s') s = s + f()
                if k % 20 == 0 then jit.flush() end end return s"),
            jit("local N = ... local s = 0 local function f(n) local x = 0 for i = 1, n do x = (x + i * N) % 1000003 if i % 5 == 0 then x = x + 1 elseif i % 3 == 0 then x = x - 1 end end return x end
                for k = 1, 40 do if k % 4 == 0 then jit.off(f) elseif k % 4 == 2 then jit.on(f) end s = s + f(500) end jit.on(f) return s"),
            jit("local N = ... local s = 0 for k = 1, 30 do jit.off() for i = 1, 200 do s = s + i end jit.on() for i = 1, 2000 do s = (s + i * N) % 1000003 end end return s"),
            jit("local N = ... local t = {} for i = 1, 40 do t[i] = loadstring('return function(x) return x * ' .. i .. ' + ' .. N .. ' end')() end
                local s = 0 for r = 1, 50 do for i = 1, 40 do s = (s + t[i](r)) % 1000003 end if r % 10 == 0 then jit.flush(t[r % 40 + 1]) end end return s"),
            jit("local N = ... local bit = require 'bit' local x = N for i = 1, 1e5 do x = bit.bxor(bit.lshift(x, 1), bit.rshift(x, 3), i) end return x"),
            jit("local N = ... local s = 0 local function f(...) return select('#', ...) + (select(1, ...)) end for i = 1, 3e4 do s = s + f(i, N, i) % 11 end return s"),
        ],
        endless: &[
            jit("while true do local f = loadstring('local s = 0 for i = 1, 200 do s = s + i end return s') f() end"),
            jit("local function f() local x = 0 for i = 1, 300 do x = x + i end end while true do f() jit.flush() end"),
            jit("while true do jit.off() jit.on() for i = 1, 500 do end end"),
            jit("local i = 0LL while true do i = i + 1LL end"),
            jit("local n = 0\nwhile true do\n n = n + 1\n if n % 3 == 0 then\n  n = n + 2\n elseif n % 5 == 0 then\n  n = n - 1\n end\nend"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "ffi",
        values: &[
            jit("local N = ... local a = FFI.new('int32_t[256]') for k = 1, 100 do for i = 0, 255 do a[i] = a[i] * 5 + i + k * N end end
                local s = 0 for i = 0, 255 do s = (s + a[i]) % 1000003 end return s"),
            jit("local N = ... local P = FFI.typeof('struct { double x, y; int32_t n; }') local p, s = P(1, 2, N), 0
                for i = 1, 5000 do local q = P(p.y, p.x + 1, p.n) s = s + q.x + q.n p.x, p.y = q.y % 100, q.x % 100 end return s"),
            jit("local N = ... local s = 0LL for i = 1, 50000 do s = s + (i + 0LL) * i * N end return tostring(s)"),
            jit("local N = ... local s = 0 for i = 1, 20000 do s = s + FFI.C.abs(-i * N) % 13 end return s"),
            jit("local N = ... local s = 0 for i = 1, 300 do local b = FFI.new('uint8_t[?]', i % 50 + 1) FFI.fill(b, i % 50 + 1, N) s = s + b[i % 50] + #FFI.string(b, 1) end return s"),
            jit("local N = ... local n = 0 local function make() for i = 1, 100 do FFI.gc(FFI.new('int[4]'), function(x) n = n + N end) end end make()
                local function clear(a, b, c, d, e, f) return f end repeat clear() collectgarbage() until n >= 100 * N return n"),
        ],
        endless: &[
            jit("local a = FFI.new('int[64]') while true do for i = 0, 63 do a[i] = a[i] + i end end"),
            jit("local s, P = 0, FFI.typeof('struct { double x, y; }') while true do s = s + P(1, 2).x end"),
            jit("local C, x = FFI.C, 0 while true do x = C.abs(-1) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "callbacks",
        values: &[
            jit("local N = ... local s = 0 local function sort() local a = FFI.new('int[64]') for i = 0, 63 do a[i] = i * 7919 * N % 1009 end
                  local cb = FFI.cast('int (*)(const int *, const int *)', function(a, b) return a[0] - b[0] end)
                  FFI.C.qsort(a, 64, 4, cb) cb:free() for i = 0, 63 do s = (s * 31 + a[i]) % 1000003 end end
                jit.off(sort) for i = 1, 10 do sort() end return s"),
            jit("local N = ... local s = 0 local function sort() local a = FFI.new('int[16]') for i = 0, 15 do a[i] = 16 - i end
                  local cb = FFI.cast('int (*)(const int *, const int *)', function(a, b) local x = 0 for i = 1, 100 do x = x + i end s = (s + x + N) % 1000003 return a[0] - b[0] end)
                  FFI.C.qsort(a, 16, 4, cb) cb:free() s = s + a[0] end
                jit.off(sort) for i = 1, 8 do sort() end return s"),
        ],
        endless: &[
            jit("local function sort() local a = FFI.new('int[4]', 4, 3, 2, 1)
                  local cb = FFI.cast('int (*)(const int *, const int *)', function(a, b) return a[0] - b[0] end)
                  while true do for i = 0, 3 do a[i] = 4 - i end FFI.C.qsort(a, 4, 4, cb) end end jit.off(sort) sort()"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "buffers",
        values: &[
            jit("local N = ... local b, s = require('string.buffer').new(), 0 for i = 1, 2000 do b:put('k', i * N, ';') if i % 10 == 0 then s = (s * 7 + #b:get()) % 1000003 end end return s"),
            jit("local N = ... local buffer, s = require 'string.buffer', 0 for i = 1, 200 do local t = buffer.decode(buffer.encode({i, N, {x = i}, 'abc'})) s = s + t[1] * t[2] + t[3].x + #t[4] end return s"),
            jit("local N = ... local b = require('string.buffer').new() for i = 1, 500 do b:putf('%d,%s', i * N, 'x') b:skip(1) end return #b:tostring()"),
        ],
        endless: &[jit(
            "local b = require('string.buffer').new() while true do b:reset() b:put('x', 1) end",
        )],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "traces",
        values: &[
            jit("local N = ... local co = coroutine.wrap(function() local n = 0 while true do n = n + N for i = 1, 10 do n = n + i % 2 end coroutine.yield(n) end end)
                local s = 0 for i = 1, 2000 do s = (s + co()) % 1000003 end return s"),
            jit("local N = ... local s = 0 for i = 1, 3000 do local ok, v = pcall(function(x) return x + N end, i) s = (s + v) % 1000003 end return s"),
            jit("local N = ... local s = 0 for i = 1, 300 do local t = {3, N, 1, i} table.sort(t) s = s + t[1] + t[4] end return s"),
            jit("local N = ... local s = 0 for i = 1, 3000 do local co = coroutine.create(function(x) for k = 1, 20 do x = x + k end return x end) local _, v = coroutine.resume(co, N) s = s + v end return s"),
            jit("local N = ... local s = 0 local t = setmetatable({}, {__index = function(_, k) return k * N end}) for i = 1, 2e4 do s = (s + t[i]) % 1000003 end return s"),
            jit("local N = ... local n, e = 0, 0 for i = 1, 1500 do local ok = pcall(function() for k = 1, 30 do if k == 29 and i % 4 == 0 then error(k) end end n = n + N end) if not ok then e = e + 1 end end return n .. ' ' .. e"),
        ],
        endless: &[
            jit("local co = coroutine.wrap(function() while true do for i = 1, 200 do end coroutine.yield() end end) while true do co() end"),
            jit("while true do local t = os.clock() end"),
            jit("local function f(x) return x + 1 end while true do pcall(f, 1) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "profile",
        values: &[
            jit("local N = ... local p = require 'jit.profile' local s, seen = 0, 0 p.start(({'f', 'l', 'i1', 'li2'})[N], function(co, n) seen = seen + n end)
                for i = 1, 3e5 do s = (s + i * N) % 1000003 end p.stop() return s"),
            jit("local N = ... local p = require 'jit.profile' local s = 0 for k = 1, 20 do p.start('i1', function() local t = {} end) for i = 1, 3000 do s = (s + i * N) % 1000003 end p.stop() end return s"),
            jit("local N = ... local p = require 'jit.profile' p.start('li1', function(co) p.dumpstack(co, 'fl', 5) end) local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
                local r = fib(18 + N) p.stop() return r"),
        ],
        endless: &[
            jit("require('jit.profile').start('fi1', function() end) while true do end"),
            jit("local p = require 'jit.profile' while true do p.start('l', function() end) for i = 1, 1000 do end p.stop() end"),
        ],
        poisons: false,
        countable: true,
    },
];
