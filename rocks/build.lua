-- Builds leash.so for LuaRocks, and installs it. Called by `leash-scm-1.rockspec`, at the root of the repository:
--
--   LUA rocks/build.lua build LUA_INCDIR
--   LUA rocks/build.lua install LIBDIR
--
-- LuaRocks calls it by the interpreter that it is set to, so nobody has to tell the engine: it is whatever runs this. LuaRocks itself
-- cannot tell LuaJIT from Lua 5.1 (both are "5.1" to it), nor can the headers: Leash needs none.
--
-- What could go wrong: LuaRocks is set to LuaJIT's headers and to the interpreter of 5.1. That is refused: one of the two is a mistake, and
-- LuaJIT loads a module for 5.1 without a complaint. A missing or old cargo is named here: what the shell or cargo say does not help.

local action, folder = ...

local function fail(...)
  io.stderr:write("\nleash: ", table.concat({ ... }, "\n       "), "\n\n")
  os.exit(1)
end

local function exists(name)
  local file = io.open(name, "rb")
  return file and file:close()
end

local known = { lua51 = true, lua52 = true, lua53 = true, lua54 = true, lua55 = true, luajit = true }
local engine = jit and "luajit" or (_VERSION:gsub("^Lua (%d)%.(%d)$", "lua%1%2"))
if not known[engine] then
  fail(_VERSION .. " is not supported. Leash knows Lua 5.1 to 5.5 and LuaJIT.")
end

-- Where `cargo xtask modules` puts it.
local library = (os.getenv "CARGO_TARGET_DIR" or "target") .. "/modules/" .. engine .. "/leash.so"

local function check_headers()
  if exists(folder .. "/luajit.h") and not jit then
    fail("LuaRocks is set to LuaJIT's headers, " .. folder .. ",",
      "but to the interpreter " .. arg[-1] .. ", which is " .. _VERSION .. " and not LuaJIT.",
      "For LuaJIT:  luarocks --lua-version 5.1 make LUA=/usr/bin/luajit LUA_INCDIR=" .. folder,
      "For Lua 5.1: leave LUA_INCDIR out.")
  end
end

local function check_cargo()
  local manifest = assert(io.open("Cargo.toml"), "not in the root of the repository: there is no Cargo.toml")
  local needed = manifest:read("*a"):match('rust%-version = "([%d.]+)"')
  manifest:close()
  local pipe = io.popen "cargo --version 2>&1"
  local says = pipe:read "*a"
  pipe:close()
  local version = says:match "^cargo ([%d.]+)"
  local remedy = "Install Rust " .. needed .. " or newer from https://rustup.rs, then run luarocks make again."
  if not version then
    if not says:find "not found" then
      fail("cargo is there, but does not work: " .. says:gsub("%s+$", ""))
    end
    fail("cargo was not found: Leash is written in Rust, and cargo builds it.", remedy,
      'If it is installed, it is not on the PATH. (sudo has its own: sudo env "PATH=$PATH" luarocks make)')
  end
  local function number(v)
    local major, minor = v:match "^(%d+)%.(%d+)"
    return major * 1000 + minor
  end
  if number(version) < number(needed) then
    fail("cargo " .. version .. " is too old.", remedy)
  end
end

local function build()
  check_headers()
  check_cargo()
  print("leash: for " .. engine .. ", the engine of " .. arg[-1])
  local status = os.execute("cargo xtask modules " .. engine)
  if status ~= true and status ~= 0 then
    fail("cargo could not build leash.so for " .. engine .. ": the reason is above.",
      "It needs a linker and the C library's files (Debian: gcc libc6-dev), and at first the network, for the crates in Cargo.lock.")
  end
end

local function install()
  local from = assert(io.open(library, "rb"))
  local to = assert(io.open(folder .. "/leash.so", "wb"))
  assert(to:write((from:read "*a")))
  assert(to:close())
  from:close()
end

if action == "build" then
  build()
elseif action == "install" then
  install()
else
  fail("usage: LUA rocks/build.lua build LUA_INCDIR | install LIBDIR")
end
