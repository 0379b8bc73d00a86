-- What the test-only libraries llthreads2.ex and mtmsg promise, on every engine:
--   LUA_CPATH='DIR/?.so' lua selftest.lua
-- Each test is a function; the thread functions inside have no upvalues, since they are dumped.

local llthreads = require "llthreads2.ex"
local mtmsg     = require "mtmsg"

local unpack = table.unpack or unpack

local function pack(...) return { n = select("#", ...), ... } end

local function same(a, b)
    assert(a.n == b.n, "number of values: " .. a.n .. " and " .. b.n)
    for i = 1, a.n do
        assert(a[i] == b[i], "value " .. i .. ": " .. tostring(a[i]) .. " and " .. tostring(b[i]))
        assert(type(a[i]) == type(b[i]))
        if math.type then assert(math.type(a[i]) == math.type(b[i])) end
    end
end

local function raises(pattern, f, ...)
    local ok, err = pcall(f, ...)
    assert(not ok, "no error")
    assert(tostring(err):find(pattern), tostring(err))
end

local function start(f, ...) return assert(llthreads.new(f, ...):start()) end

local VALUES = pack(nil, true, false, 0, -1, 0.5, 2^40, 1/0, -1/0, "", "text", "nul\0inside", ("x"):rep(100000),
                    math.maxinteger or 1, math.mininteger or 2, 3.0, nil)

local tests = {}

function tests.values_through_a_thread()
    local t = llthreads.new(function(...) return ... end, unpack(VALUES, 1, VALUES.n))
    assert(t:start() == t)
    same(pack(true, unpack(VALUES, 1, VALUES.n)), pack(t:join()))
end

function tests.values_through_a_buffer()
    local b = mtmsg.newbuffer()
    assert(b:addmsg(unpack(VALUES, 1, VALUES.n)) == true)
    b:addmsg()
    b:addmsg("last")
    same(VALUES, pack(b:nextmsg()))
    assert(select("#", b:nextmsg()) == 0)
    assert(b:nextmsg() == "last")
    assert(select("#", b:nextmsg(0)) == 0)
end

function tests.many_values()
    local n = 5000
    local list = {}
    for i = 1, n do list[i] = i end
    local b = mtmsg.newbuffer()
    b:addmsg(unpack(list, 1, n))
    assert(select("#", b:nextmsg()) == n)
    local t = start(function(...) return select("#", ...), ... end, unpack(list, 1, n))
    local ok, count, first = t:join()
    assert(ok == true and count == n and first == 1)
end

function tests.what_cannot_be_sent_is_refused()
    local b = mtmsg.newbuffer()
    for _, v in ipairs { {}, print, coroutine.create(function() end), b } do
        raises("bad argument", b.addmsg, b, 1, v)
        raises("bad argument", llthreads.new, "return 1", v)
    end
    assert(select("#", b:nextmsg(0)) == 0)
    raises("bad argument #1", llthreads.new, 42)
    raises("bad argument #1", llthreads.new)
    raises("dump", llthreads.new, print)
    raises("bad argument", mtmsg.buffer, "no number")
    raises("bad argument", mtmsg.sleep)
    raises("bad argument", b.nextmsg, b, "soon")
    raises("bad argument #1", b.id, io.stdout)
    raises("bad argument #1", llthreads.new("return 1").join, b)
    local ok, err = start(function() return 1, {} end):join()
    assert(ok == false and err:find("^Error from child thread: a result is a table"), err)
end

function tests.source_text()
    same(pack(true, 7, nil), pack(start("local a, b = ... return a + b, nil", 3, 4):join()))
    local ok, err = start("this is not Lua"):join()
    assert(ok == false and err:find("^Error from child thread: .*:1: .* near .*is"), err)
end

function tests.errors_in_threads()
    local ok, err = start(function() error("it went wrong") end):join()
    assert(ok == false and err:find("^Error from child thread: .*selftest.lua:%d+: it went wrong"), err)
    assert(err:find("stack traceback:"), err)
    ok, err = start(function() error({}) end):join()
    assert(ok == false and err:find("error object is a table value", 1, true), err)
    ok, err = start(function() error(setmetatable({}, { __tostring = function() return "as text" end })) end):join()
    assert(ok == false and err == "Error from child thread: as text", err)
    ok, err = start(function() error() end):join()
    assert(ok == false and type(err) == "string")
    ok, err = start(function() local function f() return 1 + f() end return f() end):join()
    assert(ok == false and err:find("stack overflow"), err)
end

function tests.order_of_start_and_join()
    local t = llthreads.new("return 1")
    same(pack(nil, "Can't join a thread that hasn't be started."), pack(t:join()))
    assert(t:start() == t)
    same(pack(nil, "Thread already started."), pack(t:start()))
    same(pack(true, 1), pack(t:join()))
    same(pack(nil, "Can't join a thread that has already been joined."), pack(t:join()))
    same(pack(nil, "Thread already started."), pack(t:start()))
end

function tests.join_without_waiting()
    local b = mtmsg.newbuffer()
    local t = start(function(id) return require "mtmsg".buffer(id):nextmsg() end, b:id())
    same(pack(nil, "timeout"), pack(t:join(0)))
    b:addmsg("go")
    same(pack(true, "go"), pack(t:join()))
end

function tests.detached_and_joinable()
    local b = mtmsg.newbuffer()
    local function f(id) require "mtmsg".buffer(id):addmsg("ran") return "result" end
    local t = llthreads.new(f, b:id())
    assert(t:start(true) == t)
    same(pack(nil, "Can't join a thread that has been detached."), pack(t:join()))
    assert(b:nextmsg() == "ran")
    for _, detached in ipairs { false, true } do
        t = llthreads.new(f, b:id())
        assert(t:start(detached, not not detached) == t)
        assert(b:nextmsg() == "ran")
        local ok, zero = t:join()
        assert(ok == true and zero == 0)
    end
    same(pack(true, "result"), pack(start(f, b:id()):join()))
end

function tests.the_environment_of_a_thread()
    local path, cpath = package.path, package.cpath
    package.path, package.cpath = "./of-the-parent/?.lua", cpath .. ";./of-the-parent/?.so"
    local t = llthreads.new(function()
        leaked = true
        return package.path, package.cpath, type(string.format), type(io.write), type(coroutine.create), _VERSION
    end)
    local expected = pack(true, package.path, package.cpath, "function", "function", "function", _VERSION)
    package.path, package.cpath = path, cpath
    same(expected, pack(t:start():join()))
    assert(leaked == nil)
end

function tests.buffers_by_id()
    local a, b = mtmsg.newbuffer(), mtmsg.newbuffer()
    assert(a:id() ~= b:id())
    if math.type then assert(math.type(a:id()) == "integer") end
    mtmsg.buffer(a:id()):addmsg("to a")
    assert(select("#", b:nextmsg(0)) == 0)
    assert(a:nextmsg(0) == "to a")
    local id = a:id()
    a = nil
    collectgarbage() collectgarbage()
    raises("mtmsg.error.unknown_object", mtmsg.buffer, id)
    raises("mtmsg.error.unknown_object", mtmsg.buffer, -1)
end

function tests.timeouts()
    local b = mtmsg.newbuffer()
    local t = start(function(id)
        local mtmsg = require "mtmsg"
        local b = mtmsg.buffer(id)
        mtmsg.sleep(0.4)
        b:addmsg("late")
    end, b:id())
    assert(select("#", b:nextmsg(0.05)) == 0)
    assert(select("#", b:nextmsg(-1)) == 0)
    assert(select("#", b:nextmsg(0/0)) == 0)
    assert(b:nextmsg(1e300) == "late")
    assert(t:join())
    mtmsg.sleep(0)
    mtmsg.sleep(-1)
end

function tests.two_threads_exchange_10000_messages()
    local ping, pong = mtmsg.newbuffer(), mtmsg.newbuffer()
    local t = start(function(pingId, pongId)
        local mtmsg = require "mtmsg"
        local ping, pong = mtmsg.buffer(pingId), mtmsg.buffer(pongId)
        local n = 0
        while true do
            local i, text = ping:nextmsg()
            if not i then return n end
            n = n + 1
            pong:addmsg(i + 1, text .. "!")
        end
    end, ping:id(), pong:id())
    for i = 1, 5000 do
        ping:addmsg(i, "message " .. i)
        local j, text = pong:nextmsg()
        assert(j == i + 1 and text == "message " .. i .. "!")
    end
    ping:addmsg(nil)
    same(pack(true, 5000), pack(t:join()))
end

function tests.one_writer_ahead_of_one_reader()
    local b = mtmsg.newbuffer()
    local t = start(function(id)
        local b = require "mtmsg".buffer(id)
        for i = 1, 10000 do b:addmsg(i) end
    end, b:id())
    for i = 1, 10000 do assert(b:nextmsg() == i) end
    assert(t:join())
end

function tests.many_readers_of_one_buffer()
    local b, threads, sum = mtmsg.newbuffer(), {}, 0
    for i = 1, 8 do
        threads[i] = start(function(id)
            local b, sum = require "mtmsg".buffer(id), 0
            while true do
                local v = b:nextmsg()
                if v == "end" then return sum end
                sum = sum + v
            end
        end, b:id())
    end
    for i = 1, 4000 do b:addmsg(i) end
    for _ = 1, 8 do b:addmsg("end") end
    for i = 1, 8 do sum = sum + select(2, assert(threads[i]:join())) end
    assert(sum == 4000 * 4001 / 2)
end

function tests.many_threads()
    for _ = 1, 4 do
        local threads = {}
        for i = 1, 50 do
            threads[i] = start(function(n)
                local sum = 0
                for i = 1, n do sum = sum + i end
                return sum, tostring({}):match("^table") -- a state of its own
            end, i * 100)
        end
        for i = 50, 1, -1 do
            local n = i * 100
            same(pack(true, n * (n + 1) / 2, "table"), (function(ok, s, t) return pack(ok, s + 0.0, t) end)(threads[i]:join()))
        end
    end
end

function tests.threads_of_threads()
    local t = start(function(depth)
        local source = [[
            local source, depth = ...
            if depth == 0 then return "bottom" end
            local t = require "llthreads2.ex".new(source, source, depth - 1):start()
            return select(2, assert(t:join()))
        ]]
        return select(2, assert(require "llthreads2.ex".new(source, source, depth):start():join()))
    end, 10)
    same(pack(true, "bottom"), pack(t:join()))
end

function tests.the_state_closes_when_it_is_joined()
    local b = mtmsg.newbuffer()
    local t = start(function(id)
        local b = require "mtmsg".buffer(id)
        local function closed() b:addmsg("closed") end
        if newproxy then
            guard = newproxy(true)
            getmetatable(guard).__gc = closed
        else
            guard = setmetatable({}, { __gc = closed })
        end
        b:addmsg("open")
    end, b:id())
    assert(b:nextmsg() == "open")
    assert(select("#", b:nextmsg(0.05)) == 0)
    assert(t:join())
    assert(b:nextmsg(0) == "closed")
end

function tests.garbage_threads()
    local b = mtmsg.newbuffer()
    for _ = 1, 20 do
        llthreads.new("return 1") -- never started
        start(function(id) require "mtmsg".buffer(id):addmsg("done") end, b:id()) -- never joined
    end
    collectgarbage() collectgarbage() -- waits for them
    for _ = 1, 20 do assert(b:nextmsg(0) == "done") end
end

function tests.a_finalizer_in_the_middle()
    -- Pushing many strings runs the collector, and with it a finalizer that reads another message.
    local b = mtmsg.newbuffer()
    local function arm()
        local function f() b:nextmsg(0) if arm then arm() end end
        if newproxy then getmetatable(newproxy(true)).__gc = f else setmetatable({}, { __gc = f }) end
    end
    arm()
    local list = {}
    for i = 1, 200 do list[i] = ("%d"):format(i):rep(500) end
    for _ = 1, 100 do b:addmsg("other") b:addmsg(unpack(list)) end
    for _ = 1, 50 do
        local got = pack(b:nextmsg(0))
        if got.n == 200 then for i = 1, 200 do assert(got[i] == list[i]) end end
    end
    arm = nil
end

function tests.a_closed_object()
    local b = mtmsg.newbuffer()
    local t = llthreads.new("return 1")
    local mt = (debug or {}).getmetatable
    if not mt then return end
    mt(b).__gc(b)
    mt(t).__gc(t)
    mt(t).__gc(t)
    raises("closed", b.id, b)
    raises("closed", t.start, t)
end

local names = {}
for name in pairs(tests) do names[#names + 1] = name end
table.sort(names)
local failed = 0
for _, name in ipairs(names) do
    local ok, err = xpcall(tests[name], debug.traceback)
    if not ok then
        failed = failed + 1
        print("FAILED " .. name .. ": " .. tostring(err))
    end
end
print((jit and jit.version or _VERSION) .. ": " .. #names - failed .. " of " .. #names .. " tests passed")
if failed > 0 then error("selftest failed", 0) end
