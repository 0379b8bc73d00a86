-- For `luarocks make` in a checkout (docs/leash.md, "Installing"). It needs Rust; rocks/build.lua says so where it is missing.
rockspec_format = "3.0"
package = "leash"
version = "scm-1"
source = {
   -- `luarocks make` builds what is here and fetches nothing.
   url = "file://.",
}
description = {
   summary = "Stop, bound and observe running Lua code",
   detailed = [[
The modules leash, mtint and corowatch: interrupt any Lua state or coroutine from any OS thread, and watch coroutines that must yield in
time. Nothing runs inside the code meanwhile: no count hook, no polling.]],
   license = "MIT",
   labels = { "coroutine", "threads", "timeout", "interrupt" },
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.1, < 5.6" }
build = {
   type = "command",
   build_command = [["$(LUA)" rocks/build.lua build "$(LUA_INCDIR)"]],
   install_command = [["$(LUA)" rocks/build.lua install "$(LIBDIR)"]],
   install = {
      lua = { mtint = "lua/mtint.lua", corowatch = "lua/corowatch.lua" },
   },
   -- library: type annotations, for editors.
   copy_directories = { "docs", "library" },
}
