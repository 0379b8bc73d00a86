-- Iterates over the lines of a device that has no end, by a C iterator.

for line in io.lines "/dev/urandom" do end
