-- The CPU time of this work, in seconds: what the benchmarks measure by.
--
-- os.clock is the clock of the whole process. On LuaJIT it is no good: once the profiler has been started, as Leash does for its guards, a timer of the
-- process's CPU time has been set (ITIMER_PROF), and from then on Linux advances that clock by scheduler ticks only, 4 ms each. So there it
-- is the clock of this thread, which stays exact. It leaves out Leash's timer thread, which sleeps meanwhile.

if not jit then return os.clock end

local ffi = require "ffi"
ffi.cdef [[
typedef struct { long seconds, nanoseconds; } leash_bench_time_t;
int clock_gettime(int clock, leash_bench_time_t *time);
]]
local THREAD_CPU = 3
local C, time = ffi.C, ffi.new("leash_bench_time_t")

local function clock()
  assert(C.clock_gettime(THREAD_CPU, time) == 0)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end
jit.off(clock)
return clock
