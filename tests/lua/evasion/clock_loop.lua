-- Waits for a time that does not come, in C functions most of the time.

while os.clock() < math.huge do os.time() end
