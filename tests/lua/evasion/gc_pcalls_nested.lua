-- A finalizer whose protected calls are nested as deep as C calls may be, where not even the functions of Leash can call another.

with_finalizer(function()
  local function f() repeat pcall(f) until false end
  f()
end)
while true do collectgarbage() end
