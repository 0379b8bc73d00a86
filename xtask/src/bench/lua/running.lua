-- Code that runs, for the benchmarks that bound it in one way or another: each takes a number of repetitions. (crates/bench/src/work.rs has the
-- same, as texts.)

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

return {
  loop = function(n)
    local x = 0
    for i = 1, n * 1000 do x = (x * 5 + i) % 1048573 end
    return x
  end,
  tables = function(n)
    local t, sum = {}, 0
    for i = 1, 100 do t[i] = i end
    for _ = 1, n * 10 do
      for i = 1, 100 do
        t[i] = t[i] + 1
        sum = sum + t[i]
      end
    end
    return sum
  end,
  calls = function(n)
    for _ = 1, n do fib(10) end
  end,
  garbage = function(n)
    local last
    for i = 1, n * 30 do last = { i, tostring(i), last and last[1] } end
    return last
  end,
}
