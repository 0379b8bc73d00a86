-- Stuck: waits for a line on standard input. On a terminal, or a pipe that
-- stays open and empty, io.read blocks in read(2) for ever and uses no CPU.
-- With standard input closed or empty (< /dev/null) it ends at once.
print("your name?")
print("hello, " .. tostring(io.read()))
