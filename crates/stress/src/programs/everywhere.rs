//! The programs of every engine.
//!
//! Names that the host provides: `DEPTH`, how deep a recursion may go; `gc(f)`, a new object with the finalizer `f`; `share(co)`, other threads interrupt this
//! coroutine too from now on; `nested(ms, f)`, `f()` under a timeout: true and its result, or false; `across(ms, f, ...)`, the same with any
//! arguments and results, and `f` may yield (not on 5.1); `watch(co, ms)` and `advance(co)`, a coroutine that must
//! yield in time, and its resume: `"killed"`, `"failed"` or the first value.

use super::{Program, Scenario};

const fn all(code: &'static str) -> Program {
    Program::all(code)
}

const fn on(only: &'static str, code: &'static str) -> Program {
    Program::on(only, code)
}

const fn known(code: &'static str, value: &'static str) -> Program {
    Program::known(code, value)
}

/// The engines on which a call with limits may be yielded across.
const YIELDING: &str = "lua52 lua53 lua54 lua55 luajit";

/// See [`super::scenarios`].
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "recursion",
        values: &[
            all("local N = ... local function rec(k) if k == 0 then return 0 end return 1 + rec(k - 1) end
                local s = 0
                for i = 1, 6 do s = s + rec((N * 1009 + i * 997) % DEPTH) collectgarbage('step', 1000) local t = {} for j = 1, 50 do t[j] = {} end end
                return s"),
            all("local N = ... local function up(k, ...) if k == 0 then return select('#', ...) end return up(k - 1, k, ...) end
                local s = 0 for i = 1, 20 do s = s + up(20 + N, i) end return s"),
            all("local N = ... local even, odd
                function even(k) if k == 0 then return true end return odd(k - 1) end function odd(k) if k == 0 then return false end return even(k - 1) end
                local s = 0 for i = 1, 40 do if even(i * 50 + N) then s = s + i end end return s"),
            all("local N = ... local function f(d, x) if d == 0 then return x end local ok, r = pcall(f, d - 1, x + 1) return r + (ok and 1 or 0) end
                local s = 0 for i = 1, 60 do s = s + f(40, i * N) end return s"),
            all("local N = ... local function tak(x, y, z) if y >= x then return z end return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y)) end
                return tak(9 + N % 2, 6, 3)"),
            all("local N = ... local function build(d) if d == 0 then return {} end return {build(d - 1), build(d - 1)} end
                local function count(t) if not t[1] then return 1 end return 1 + count(t[1]) + count(t[2]) end
                local s = 0 for i = 1, 4 do s = s + count(build(7 + N % 3)) end return s"),
        ],
        endless: &[
            all("local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end while true do f(DEPTH) end"),
            all("local function f() return f() end f()"),
            all("while true do pcall(function() local function f() return 1 + f() end f() end) end"),
            all("local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end while true do fib(20) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "coroutines",
        values: &[
            all("local N = ... local s = 0
                for i = 1, 100 do local co = coroutine.wrap(function(a) for k = 1, 5 do a = coroutine.yield(a * k) + N end return a end)
                  s = s + co(i) for k = 1, 4 do s = s + co(k) end end return s"),
            all("local N = ... local function deep(d) if d == 0 then coroutine.yield(N) return N * 2 end
                  local co = coroutine.wrap(deep) coroutine.yield(co(d - 1)) return co() + 1 end
                local co = coroutine.wrap(deep) return co(20) + co()"),
            all("local N = ... local t, s = {}, 0
                for i = 1, 200 do t[i] = coroutine.create(function() local n = i while true do n = n + coroutine.yield(n) end end) if i % 20 == 0 then share(t[i]) end end
                for round = 1, 4 do for i = 1, 200, round do local _, v = coroutine.resume(t[i], N) s = s + (tonumber(v) or 1) end
                  for i = round, 200, 7 do t[i] = coroutine.create(function(a) return a end) end collectgarbage('step', 100) end return s"),
            all("local N = ... local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
                local s = 0 for i in gen(300 + N) do for j in gen(3) do s = s + i * j end end return s"),
            all("local N = ... local bad, s = 0, 0
                for i = 1, 200 do local co = coroutine.create(function(x) if x % 3 == N % 3 then error(x) end coroutine.yield(x) end)
                  local ok, v = coroutine.resume(co, i) if ok then s = s + v else bad = bad + 1 end
                  if not ok and coroutine.status(co) ~= 'dead' then error('alive') end end return s .. ' ' .. bad"),
            on("lua52 lua53 lua54 lua55 luajit", "local N = ... local s = 0
                for i = 1, 50 do local co = coroutine.wrap(function() local ok, v = pcall(function() local x = coroutine.yield(i) if x % 2 == 0 then error({x}) end return x end)
                    coroutine.yield(ok and v or v[1] * 3) return 1 end)
                  s = s + co() + co(i + N) + co() end return s"),
            on("lua52 lua53 lua54 lua55", "local N = ... local mt = {__index = function(_, k) return coroutine.yield(k) end, __add = function(a, b) return coroutine.yield(b) end}
                local s = 0 for i = 1, 60 do local co = coroutine.wrap(function() local o = setmetatable({}, mt) return o[i] + (o + N) end) s = s + co() + co(2) + co(3) end return s"),
            on("lua54 lua55", "local N = ... local n = 0 local mt = {__close = function() n = n + N end}
                local function f() local a <close> = setmetatable({}, mt) local b <close> = setmetatable({}, mt) coroutine.yield() end
                for i = 1, 100 do local co = coroutine.create(f) coroutine.resume(co) if i % 2 == 0 then coroutine.close(co) else coroutine.resume(co) end end return n"),
            on("lua55", "local N = ... local n = 0
                for i = 1, 50 do local co = coroutine.create(function() pcall(function() n = n + N coroutine.close() end) n = n + 1000 end) coroutine.resume(co) end return n"),
        ],
        endless: &[
            all("while true do coroutine.wrap(function() coroutine.yield() end)() end"),
            all("local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end"),
            all("coroutine.wrap(function() coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)() end)()"),
            all("local t = {} while true do for i = 1, 100 do t[i] = coroutine.create(function() coroutine.yield() end) coroutine.resume(t[i]) end end"),
            all("while true do pcall(coroutine.wrap(function() error('x') end)) end"),
            all("local function f() while true do pcall(coroutine.wrap(function() while true do end end)) end end while true do pcall(coroutine.wrap(f)) end"),
            on("lua55", "while true do coroutine.resume(coroutine.create(function() pcall(coroutine.close) end)) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "yields",
        values: &[
            on(YIELDING, "local N = ... local s = 0
                for i = 1, 60 do local co = coroutine.wrap(function(a) local _, r = across(60000, function(b) for k = 1, 4 do b = coroutine.yield(b * k) + N end return b end, a) return r end)
                  s = s + co(i) for k = 1, 4 do s = s + co(k) end end return s"),
            on(YIELDING, "local N = ... local t, s = {}, 0
                for i = 1, 60 do t[i] = coroutine.wrap(function() across(60000, function() local n = i while true do n = n + coroutine.yield(n) end end) end) t[i]() end
                for round = 1, 5 do for i = 1, 60, round do s = s + t[i](N) end across(60000, function() for i = 1, 60, 7 do s = s + t[i](i) end end) collectgarbage('step', 100) end return s"),
            on(YIELDING, "local N = ... local function deep(d) if d == 0 then coroutine.yield(N) return 1 end local _, r = across(60000, deep, d - 1) return r + d end
                local s = 0 for i = 1, 10 do local co = coroutine.wrap(deep) s = s + co(i) + co() end return s"),
            on(YIELDING, "local N = ... local bad = 0
                for i = 1, 60 do local co = coroutine.wrap(function() local ok = pcall(across, 60000, function() coroutine.yield() if i % 3 == N % 3 then error({}) end end) return ok end)
                  co() if not co() then bad = bad + 1 end end return bad"),
            known("local stopped = 0
                for i = 1, 3 do local co = coroutine.wrap(function() local ok repeat ok = across(1, function() if coroutine.isyieldable == nil or coroutine.isyieldable() then pcall(coroutine.yield, 'y') end while true do end end) until ok == false return 'stopped' end)
                  local r repeat r = co() until r ~= 'y' stopped = stopped + 1 end return stopped", "3"),
            on(YIELDING, "local N = ... local a, b, s = nil, nil, 0
                a = coroutine.create(function() across(60000, function() for i = 1, 40 do s = s + i if coroutine.status(b) == 'suspended' then coroutine.resume(b) end coroutine.yield() end end) end)
                b = coroutine.create(function() across(60000, function() for i = 1, 40 do s = s + N if coroutine.status(a) == 'suspended' then coroutine.resume(a) end coroutine.yield() end end) end)
                for i = 1, 100 do coroutine.resume(a) coroutine.resume(b) end return s"),
        ],
        endless: &[
            on(YIELDING, "local co = coroutine.wrap(function() while true do across(60000, function() while true do coroutine.yield() end end) end end) while true do co() end"),
            on(YIELDING, "local t = {} while true do for i = 1, 50 do t[i] = coroutine.create(function() across(1, function() while true do pcall(coroutine.yield) end end) end) coroutine.resume(t[i]) end
                for i = 1, 50, 3 do coroutine.resume(t[i]) end end"),
            on(YIELDING, "while true do local co = coroutine.create(function() across(60000, function() coroutine.yield() while true do pcall(error) end end) end) coroutine.resume(co) across(1, coroutine.resume, co) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "watched",
        values: &[
            known("local killed, s = 0, 0
                for i = 1, 10 do local co = coroutine.create(function() if i % 2 == 0 then while true do end end return i end)
                  if watch(co, i % 2 == 0 and 1 or 60000) then local r = advance(co) if r == 'killed' then killed = killed + 1 else s = s + r end end end
                return killed .. ' ' .. s", "5 25"),
            known("local co = coroutine.create(function() while true do pcall(function() while true do end end) end end)
                watch(co, 1) local a, b = advance(co), advance(co) return a .. ' ' .. b", "killed killed"),
            known("local co = coroutine.create(function() for i = 1, 200 do coroutine.yield(i) end end)
                watch(co, 60000) local s = 0 for i = 1, 200 do s = s + advance(co) end return s", "20100"),
            known("local outer = coroutine.create(function()
                  local inner = coroutine.create(function() while true do end end) watch(inner, 1) return advance(inner) end)
                watch(outer, 60000) return advance(outer)", "killed"),
        ],
        endless: &[
            all("while true do local co = coroutine.create(function() while true do end end) watch(co, 1) advance(co) end"),
            all("local co = coroutine.create(function() while true do end end) watch(co, 60000) advance(co)"),
        ],
        poisons: false,
        countable: false,
    },
    Scenario {
        name: "hooks",
        values: &[
            all("local N = ... local n, s = 0, 0 local function h() n = n + 1 end
                debug.sethook(h, '', 100 * N) for i = 1, 5e4 do s = s + i end
                local mine = false for i = 1, 100 do local f, m, c = debug.gethook() mine = mine or f == h and m == '' and c == 100 * N end
                debug.sethook() assert(mine, 'the hook is not the one that was set') return s"),
            all("local N = ... if jit then jit.off() end local n = 0 local function h() n = n + 1 end local function f(k) if k == 0 then return 0 end return 1 + f(k - 1) end
                debug.sethook(h, 'c') local r = f(100 * N) debug.sethook() if jit then jit.on() end
                assert(n <= 100 * N + 10, n) return r"),
            all("local N = ... local s = 0 for i = 1, 500 do debug.sethook(function() end, 'crl', i % 7) s = s + i * N debug.sethook() end return s"),
            all("local N = ... if jit then jit.off() end debug.sethook(function() error('hooked', 0) end, '', 200)
                local ok, e = pcall(function() while true do end end) debug.sethook() if jit then jit.on() end return tostring(ok) .. e"),
            on("lua51 lua52 lua53 lua54 lua55", "local N = ... local s = 0
                for i = 1, 50 do local function h() end local mine = false
                  local co = coroutine.create(function() local x = 0 for k = 1, 100 do x = x + k * N end coroutine.yield(x)
                    for k = 1, 100 do mine = mine or debug.gethook() == h end end)
                  debug.sethook(co, h, 'l') local _, v = coroutine.resume(co) s = s + v coroutine.resume(co) assert(mine, 'the coroutine has lost its hook') end return s"),
        ],
        endless: &[
            all("if jit then jit.off() end debug.sethook(function() while true do end end, '', 100) while true do end"),
            all("while true do debug.sethook(function() end, 'c') debug.sethook() end"),
            all("if jit then jit.off() end debug.sethook(function() pcall(error) end, 'crl') while true do local t = {} end"),
            all("if jit then jit.off() end debug.sethook(function() while true do pcall(function() while true do end end) end end, '', 1000) while true do end"),
        ],
        poisons: false,
        countable: false,
    },
    Scenario {
        name: "nested",
        values: &[
            known("local n = 0 for i = 1, 3 do if not nested(i - 1, function() while true do end end) then n = n + 1 end end return n", "3"),
            known("local done, s = nested(60000, function() local s = 0 for i = 1, 2e4 do s = s + i end return s end) return tostring(done) .. (s - 200010000)", "true0"),
            known("local function go(d) if d == 0 then while true do pcall(function() while true do end end) end end return nested(d == 12 and 2 or 60000, function() return go(d - 1) end) end
                return tostring((go(12)))", "false"),
            known("local n = 0 local co = coroutine.wrap(function() for i = 1, 3 do if not nested(1, function() coroutine.wrap(function() while true do end end)() end) then n = n + 1 end coroutine.yield() end end)
                co() co() co() return n", "3"),
            known("local n = 0 for i = 1, 3 do pcall(function() if not nested(1, function() local t = setmetatable({}, {__index = function() while true do end end}) return t.x end) then n = n + 1 end end) end return n", "3"),
            known("local t = {3, 1, 2, 5, 4} local n = 0
                nested(60000, function() table.sort(t, function(a, b) if not nested(0, function() while true do end end) then n = n + 1 end return a < b end) end)
                return (n > 0 and 'stopped ' or 'not stopped ') .. table.concat(t)", "stopped 12345"),
            known("local ok, e = pcall(nested, 60000, function() error('mine', 0) end) return tostring(ok) .. e", "falsemine"),
        ],
        endless: &[
            all("while true do nested(60000, function() while true do end end) end"),
            all("while true do nested(0.2, function() while true do end end) end"),
            all("local function f() pcall(nested, 60000, f) while true do end end f()"),
            all("while true do pcall(nested, 60000, function() coroutine.wrap(function() nested(1, function() while true do end end) while true do end end)() end) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "finalizers",
        values: &[
            all("local N = ... local n = 0 local function make() for i = 1, 100 * N do gc(function() n = n + 1 end) end end make()
                local function clear(a, b, c, d, e, f) return f end
                repeat clear() collectgarbage() until n >= 100 * N return n"),
            all("local N = ... local n = 0 local function make() for i = 1, 60 do gc(function() local co = coroutine.wrap(function() coroutine.yield(N) end) n = n + co() local t = {} for k = 1, 20 do t[k] = {k} end end) end end make()
                local function clear(a, b, c, d, e, f) return f end
                repeat clear() collectgarbage() until n >= 60 * N return n"),
            all("local N = ... local n = 0 local function make() for i = 1, 60 do gc(function() if not pcall(error, 'x') then n = n + N end end) end end make()
                local function clear(a, b, c, d, e, f) return f end
                repeat clear() collectgarbage() until n >= 60 * N return n"),
            all("local N = ... local s = 0 for i = 1, 300 do gc(function() local x = i for k = 1, 20 do x = x + k end end) s = s + i * N if i % 50 == 0 then collectgarbage('step', 50) end end return s"),
        ],
        endless: &[
            all("gc(function() while true do end end) while true do local t = {} collectgarbage() end"),
            all("gc(function() while true do pcall(function() while true do end end) end end) while true do local t = {} collectgarbage() end"),
            all("for i = 1, 20 do gc(function() while true do end end) end while true do local t = {} collectgarbage() end"),
            all("while true do gc(function() coroutine.wrap(function() while true do end end)() end) collectgarbage('step') end"),
            all("local load, wrong = loadstring or load, ('f() '):rep(300) .. 'x x' gc(function() while true do load(wrong) end end) while true do collectgarbage() end"),
            all("gc(function() while true do pcall(load, function() return 'x x' end) end end) while true do local t = {} collectgarbage() end"),
        ],
        poisons: true,
        countable: false,
    },
    Scenario {
        name: "errors",
        values: &[
            all("local N = ... local n, e = 0, 0
                for i = 1, 1000 do local ok, x = pcall(function(k) if k % 3 == N % 3 then error(k) end return k end, i) if ok then n = n + x else e = e + 1 end end return n .. ' ' .. e"),
            all("local N = ... local s = 0
                for i = 1, 500 do local _, v = xpcall(function() error({i * N}) end, function(m) return m[1] + 1 end) s = s + v end return s"),
            all("local N = ... local function deep(d) if d == 0 then error({N}, 0) end local ok, e = pcall(deep, d - 1) error(e, 0) end
                local s = 0 for i = 1, 60 do local ok, e = pcall(deep, 30) s = s + e[1] end return s"),
            all("local N = ... local s = 0
                for i = 1, 400 do local ok, e = pcall(function() local x = nil return x.y end) s = s + #tostring(e):match('attempt') + N end return s"),
            all("local N = ... local s = 0
                for i = 1, 200 do local ok, e = pcall(coroutine.wrap(function() local ok, e = pcall(error, i) error(e + N, 0) end)) s = s + tonumber(e) end return s"),
            on("lua54 lua55", "local N = ... local n = 0
                local function f(k) local x <close> = setmetatable({}, {__close = function(_, e) n = n + (e and 1 or 10) end}) if k % 2 == 0 then error(k) end end
                for i = 1, 300 do pcall(f, i + N) end return n"),
        ],
        endless: &[
            all("while true do pcall(error, 'x') end"),
            all("while true do xpcall(function() while true do end end, function() while true do end end) end"),
            all("local function f() while true do pcall(function() while true do end end) end end while true do pcall(f) end"),
            all("local function h() while true do pcall(error) end end while true do xpcall(error, h) end"),
            on("lua54 lua55", "while true do pcall(function() local x <close> = setmetatable({}, {__close = function() while true do end end}) error('x') end) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "metamethods",
        values: &[
            all("local N = ... local V = {} V.__index = V
                V.__add = function(a, b) return setmetatable({a[1] + b[1]}, V) end V.__unm = function(a) return setmetatable({-a[1]}, V) end
                V.__lt = function(a, b) return a[1] < b[1] end V.__eq = function(a, b) return a[1] == b[1] end
                V.__call = function(a, x) return a[1] + x end V.__concat = function(a, b) return (type(a) == 'table' and a[1] or a) .. (type(b) == 'table' and b[1] or b) end
                local s, v = 0, setmetatable({N}, V)
                for i = 1, 1000 do v = v + setmetatable({i % 7}, V) s = s + v(1) if -v < v then s = s + 1 end if v == setmetatable({3}, V) then s = s + 5 end s = s + #(v .. 'x') end return s"),
            all("local N = ... local t = {} for i = 1, 400 do t[i] = (i * 7919 * N) % 1009 end
                table.sort(t, function(a, b) return a < b end) local s = 0 for i = 1, #t do s = (s * 31 + t[i]) % 1000003 end return s"),
            all("local N = ... local s = 0
                for i = 1, 60 do s = s + #(('abc'):rep(10):gsub('%a', function(c) return c == 'b' and ('x'):rep(N) or nil end)) + #(('k1k2'):gsub('%a%d', setmetatable({}, {__index = function(_, k) return k .. N end}))) end return s"),
            all("local N = ... local base = setmetatable({}, {__index = function(_, k) return k * N end}) local o = base
                for i = 1, 20 do o = setmetatable({}, {__index = o, __newindex = function(t, k, v) rawset(t, k, v + 1) end}) end
                local s = 0 for i = 1, 300 do s = s + o[i] if i % 10 == 0 then o[i] = i end end return s"),
        ],
        endless: &[
            all("local t = setmetatable({}, {__index = function() while true do end end}) local x = t.x"),
            all("while true do pcall(table.sort, {3, 2, 1, 5, 4}, function(a, b) while true do end end) end"),
            all("('x'):rep(10):gsub('.', function() while true do end end)"),
            all("local m = setmetatable({}, {__add = function(a, b) while true do end end, __concat = function() while true do pcall(error) end end}) while true do pcall(function() return m + 1 end) pcall(function() return m .. 1 end) end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "strings",
        values: &[
            all("local N = ... local s = '' for i = 1, 600 do s = (s .. i * N):sub(-50) end return s"),
            all("local N = ... local t = {} for i = 1, 500 do t[#t + 1] = ('%d:%s'):format(i * N, ('x'):rep(i % 5)) end
                local s = table.concat(t, ',') local n = 0 for w in s:gmatch('%d+') do n = (n * 7 + tonumber(w)) % 1000003 end return n .. ' ' .. #s"),
            all("local N = ... local load = loadstring or load local s = 0
                for i = 1, 80 do local f = assert(load('local a = ' .. i * N .. ' local s = 0 for k = 1, 20 do s = (s * 3 + a + k) % 65537 end return s')) s = s + f() end return s"),
            all("local N = ... local load = loadstring or load local f = load(string.dump(function(n) local t = {} for i = 1, n do t[i] = tostring(i):reverse():upper() end return table.concat(t) end))
                local s = 0 for i = 1, 20 do s = s + #f(i * 5 + N) end return s"),
            all("local N = ... local t, s = {}, 0 for i = 1, 2000 do t['k' .. i % (100 + N)] = i end for i = 0, 99 do s = s + t['k' .. i] end return s"),
        ],
        endless: &[
            all("local s = '' while true do s = (s .. 'x'):sub(-100) end"),
            all("while true do local t = {} for w in ('a b c d'):gmatch('%a') do t[#t + 1] = w end table.concat(t) end"),
            all("local load = loadstring or load while true do load('return 1')() end"),
            all("local load, text = loadstring or load, 'local a return ' .. ('a and '):rep(1500) .. 'a' while true do load(text)() end"),
        ],
        poisons: false,
        countable: true,
    },
    Scenario {
        name: "numbers",
        values: &[
            all("local N = ... local s = 0 for i = 1, 1e5 do s = (s + i * N) % 1000003 end return s"),
            all("local N = ... local p, n = {}, 0 for i = 2, 3000 do if not p[i] then n = n + i * N for k = i * i, 3000, i do p[k] = true end end end return n"),
            all("local N = ... local function mat(f) local m = {} for i = 1, 12 do m[i] = {} for j = 1, 12 do m[i][j] = f(i, j) end end return m end
                local a, b = mat(function(i, j) return i + j * N end), mat(function(i, j) return i * j end) local s = 0
                for r = 1, 3 do for i = 1, 12 do for j = 1, 12 do local x = 0 for k = 1, 12 do x = x + a[i][k] * b[k][j] end s = (s + x) % 1000003 end end end return s"),
            all("local N = ... local a, b, c = 0.5, 0.25, 0 for i = 1, 20000 do a, b = (a * a - b * b + 0.1) % 1, (2 * a * b + N / 10) % 1 if a > b then c = c + 1 end end return ('%d %.6f'):format(c, a)"),
            all("local N = ... local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end return fib(14 + N)"),
            on("lua53 lua54 lua55", "local N = ... local x = N for i = 1, 20000 do x = (x << 1 ~ x >> 3) & 0xffffff x = x + i // 3 end return x"),
        ],
        endless: &[
            all("while true do end"),
            all("repeat until false"),
            all("local n = 0 while true do n = n + 1 if n > 1000 then n = 0 end end"),
            all("for i = 1, math.huge do local t = {i} end"),
            all("local t = {} for i = 1, 100 do t[i] = i end while true do for i, v in ipairs(t) do t[i] = v end end"),
        ],
        poisons: false,
        countable: true,
    },
];
