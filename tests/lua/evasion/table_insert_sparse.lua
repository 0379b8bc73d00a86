-- table.insert into a table with few elements, whose length is found to be half a billion. Each nil that is moved up may have it rebuilt.
-- Needs: guard_stdlib
-- Only: lua51 lua52 lua53 lua54

while true do
  local t = {
    1, [2] = 1, [4] = 1, [8] = 1, [16] = 1, [32] = 1, [64] = 1, [128] = 1, [256] = 1, [512] = 1, [1024] = 1, [2048] = 1, [4096] = 1, [8192] = 1, [16384] = 1,
    [32768] = 1, [65536] = 1, [131072] = 1, [262144] = 1, [524288] = 1, [1048576] = 1, [2097152] = 1, [4194304] = 1, [8388608] = 1, [16777216] = 1,
    [33554432] = 1, [67108864] = 1, [134217728] = 1, [268435456] = 1, [536870912] = 1,
  }
  pcall(table.insert, t, 1, "x")
end
