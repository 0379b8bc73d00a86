-- Turns the collector's knobs all the time.

while true do
  pcall(collectgarbage, "setpause", 100)
  pcall(collectgarbage, "setstepmul", 400)
  collectgarbage("step", 0)
  pcall(collectgarbage, "generational")
  pcall(collectgarbage, "incremental")
end
