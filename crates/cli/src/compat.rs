//! What differs between the versions of the standard interpreter, all of it, nowhere else.
//!
//! Each item is a fact about the `lua.c` (or `luajit.c`) of one version, the newest release of each. Where the versions
//! agree, the code is in [`crate::interpreter`]. All functions here that take a state may raise Lua errors, so they are to
//! be called inside a protected call, and hold plain data only.

use std::ffi::{CStr, c_int};

use mlua_sys as ffi;
use mlua_sys::lua_State;

use crate::plan::{Script, View};

/// The environment variables that may hold code to run first, in order of preference, with the `=` of a chunk's name.
pub const INIT_VARIABLES: &[&CStr] = &[
    #[cfg(feature = "lua52")]
    c"=LUA_INIT_5_2",
    #[cfg(feature = "lua53")]
    c"=LUA_INIT_5_3",
    #[cfg(feature = "lua54")]
    c"=LUA_INIT_5_4",
    #[cfg(feature = "lua55")]
    c"=LUA_INIT_5_5",
    c"=LUA_INIT",
];

/// Whether there are warnings, and so the option `-W`.
pub const HAS_WARNINGS: bool = cfg!(any(feature = "lua54", feature = "lua55"));

/// The help of `-l`.
pub const LIBRARY_HELP: &str = if cfg!(any(feature = "lua51", feature = "luajit")) {
    "Require this module before the script; may be repeated"
} else if cfg!(any(feature = "lua52", feature = "lua53")) {
    "Require this module into a global variable of its name before the script; may be repeated"
} else {
    "Require this module into a global variable of its name, or with 'g=mod' into the variable g, before the script; may be \
     repeated"
};

/// Whether an error whose error object is nil is not reported.
pub const NIL_IS_SILENT: bool = cfg!(any(
    feature = "lua51",
    feature = "lua52",
    feature = "luajit"
));

/// What is reported in place of an error object that is neither a string nor has become one.
pub const NOT_A_STRING: &CStr = if cfg!(any(feature = "lua54", feature = "lua55")) {
    c"(error message not a string)"
} else if cfg!(feature = "lua53") {
    c"(null)" // it passes the null pointer to printf
} else {
    c"(error object is not a string)"
};

/// The release of Lua that is built in: `Lua 5.4.9`.
#[cfg(not(feature = "luajit"))]
pub fn release() -> &'static str {
    unsafe extern "C" {
        // An array of unknown length; only its address is used.
        static lua_ident: std::ffi::c_char;
    }
    // SAFETY: it is a constant C string in all versions: "$LuaVersion: Lua 5.4.9  Copyright ...".
    let ident = unsafe { CStr::from_ptr(&raw const lua_ident) };
    let ident = ident.to_str().unwrap_or_default();
    let release = ident.split_once(": ").map_or(ident, |(_, rest)| rest);
    release
        .split_once(" Copyright")
        .map_or(release, |(release, _)| release)
        .trim()
}

/// The release of LuaJIT that is built in: `LuaJIT 2.1.1788856981`. Its last part is in the name of one function.
#[cfg(feature = "luajit")]
pub fn release() -> &'static str {
    static RELEASE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let number = include_str!("../exports/luajit.txt")
            .lines()
            .find_map(|name| name.strip_prefix("luaJIT_version_"));
        format!("LuaJIT {}", number.unwrap_or("2_1").replace('_', "."))
    });
    &RELEASE
}

/// Splits the value of `-l` into the module and the global variable that receives it.
pub fn library_names(name: Vec<u8>) -> (Vec<u8>, Option<Vec<u8>>) {
    if cfg!(any(feature = "lua51", feature = "luajit")) {
        return (name, None);
    }
    if cfg!(any(feature = "lua54", feature = "lua55")) {
        if let Some(at) = name.iter().position(|&c| c == b'=') {
            return (name[at + 1..].to_vec(), Some(name[..at].to_vec()));
        }
        // What follows a '-' is the version of a module, and no part of the variable's name.
        let global = name
            .split(|&c| c == b'-')
            .next()
            .unwrap_or_default()
            .to_vec();
        return (name, Some(global));
    }
    (name.clone(), Some(name))
}

/// Opens the standard libraries, with the collector stopped on the versions that stop it.
///
/// # Safety
/// `l` is a valid state whose running function may raise errors.
pub unsafe fn open_libraries(l: *mut lua_State, ignore_environment: bool) {
    // SAFETY: as promised.
    unsafe {
        #[cfg(not(feature = "lua53"))]
        ffi::lua_gc(l, ffi::LUA_GCSTOP, 0);
        if cfg!(feature = "lua51") && ignore_environment {
            open_libraries_without_paths(l);
        } else {
            ffi::luaL_openlibs(l);
        }
        #[cfg(any(feature = "lua51", feature = "lua52"))]
        ffi::lua_gc(l, ffi::LUA_GCRESTART, 0);
        #[cfg(feature = "luajit")]
        ffi::lua_gc(l, ffi::LUA_GCRESTART, -1);
    }
}

/// Lua 5.1 has no `-E`, and its `package` library reads the environment whatever the registry says. So the variables are
/// away while it does.
///
/// # Safety
/// As [`open_libraries`], and no other thread uses the environment.
unsafe fn open_libraries_without_paths(l: *mut lua_State) {
    // SAFETY: the values are part of the environment that the process was started with, which nobody frees.
    unsafe {
        let (path, cpath) = (
            libc::getenv(c"LUA_PATH".as_ptr()),
            libc::getenv(c"LUA_CPATH".as_ptr()),
        );
        libc::unsetenv(c"LUA_PATH".as_ptr());
        libc::unsetenv(c"LUA_CPATH".as_ptr());
        ffi::luaL_openlibs(l);
        if !path.is_null() {
            libc::setenv(c"LUA_PATH".as_ptr(), path, 1);
        }
        if !cpath.is_null() {
            libc::setenv(c"LUA_CPATH".as_ptr(), cpath, 1);
        }
    }
}

/// Starts the collector in the mode of the standard interpreter: generational since 5.4.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn start_collector(l: *mut lua_State) {
    let _ = l;
    // SAFETY: as promised.
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    unsafe {
        ffi::lua_gc(l, ffi::LUA_GCRESTART);
        #[cfg(feature = "lua54")]
        ffi::lua_gc(l, ffi::LUA_GCGEN, 0 as c_int, 0 as c_int);
        #[cfg(feature = "lua55")]
        ffi::lua_gc(l, ffi::LUA_GCGEN);
    }
}

/// Turns warnings off before the options are processed.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn warnings_off(l: *mut lua_State) {
    let _ = l;
    // SAFETY: as promised. (On 5.4 they are off from the start, and `LUA_INIT` may turn them on for good.)
    #[cfg(feature = "lua55")]
    unsafe {
        ffi::lua_warning(l, c"@off".as_ptr(), 0);
    }
}

/// Turns warnings on.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn warnings_on(l: *mut lua_State) {
    let _ = l;
    // SAFETY: as promised.
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    unsafe {
        ffi::lua_warning(l, c"@on".as_ptr(), 0);
    }
}

/// Sets the global `arg` before `LUA_INIT` runs, on the versions that do: all but 5.1 and 5.2. There is one even without a
/// script, and then its index 0 is the program's name, or on LuaJIT the place after the last argument.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn create_early_arg_table(l: *mut lua_State, view: &View) {
    if cfg!(any(feature = "lua51", feature = "lua52")) {
        return;
    }
    let index = match view.script {
        Script::Given { index, .. } => index,
        _ if cfg!(feature = "luajit") => view.arguments.len(),
        _ => 0,
    };
    // SAFETY: as promised.
    unsafe { create_arg_table(l, view, index) };
}

/// Sets the global `arg` just before the script runs, on 5.1 and 5.2.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn create_late_arg_table(l: *mut lua_State, view: &View, index: c_int) {
    if cfg!(any(feature = "lua51", feature = "lua52")) {
        // SAFETY: as promised.
        unsafe { create_arg_table(l, view, index) };
    }
}

/// Sets the global `arg` to a table of all arguments, with the one of this index at 0.
///
/// # Safety
/// As [`open_libraries`].
unsafe fn create_arg_table(l: *mut lua_State, view: &View, index: c_int) {
    let count = view.arguments.len();
    // SAFETY: as promised; the arguments are C strings.
    unsafe {
        ffi::lua_createtable(l, (count - (index + 1)).max(0), index + 1);
        for i in 0..count {
            ffi::lua_pushstring(l, view.arguments.get(i));
            ffi::lua_rawseti(l, -2, (i - index) as _);
        }
        ffi::lua_setglobal(l, c"arg".as_ptr());
    }
}

/// Pushes the script's arguments and returns how many. 5.1 and 5.2 take them from the command line, the others from the
/// table `arg`, which `LUA_INIT` or `-e` may have changed.
///
/// # Safety
/// As [`open_libraries`].
#[cfg(any(feature = "lua51", feature = "lua52"))]
pub unsafe fn push_arguments(l: *mut lua_State, view: &View, index: c_int) -> c_int {
    let count = view.arguments.len() - (index + 1);
    // SAFETY: as promised; the arguments are C strings.
    unsafe {
        ffi::luaL_checkstack(l, count + 3, c"too many arguments to script".as_ptr());
        for i in 0..count {
            ffi::lua_pushstring(l, view.arguments.get(index + 1 + i));
        }
    }
    count
}

/// As above.
///
/// # Safety
/// As [`open_libraries`].
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
pub unsafe fn push_arguments(l: *mut lua_State, _: &View, _: c_int) -> c_int {
    // SAFETY: as promised. The table is below the values, and removed in the end.
    unsafe {
        if ffi::lua_getglobal(l, c"arg".as_ptr()) != ffi::LUA_TTABLE {
            ffi::luaL_error(l, c"'arg' is not a table".as_ptr());
        }
        let count = ffi::luaL_len(l, -1) as c_int;
        ffi::luaL_checkstack(
            l,
            count.wrapping_add(3),
            c"too many arguments to script".as_ptr(),
        );
        let table = ffi::lua_gettop(l);
        for i in 1..=count {
            ffi::lua_rawgeti(l, table, i.into());
        }
        ffi::lua_remove(l, table);
        count
    }
}

/// As above; LuaJIT stops at the first nil, and runs the script without arguments if `arg` is no table.
///
/// # Safety
/// As [`open_libraries`].
#[cfg(feature = "luajit")]
pub unsafe fn push_arguments(l: *mut lua_State, _: &View, _: c_int) -> c_int {
    // SAFETY: as promised. The table is below the values, and removed in the end.
    unsafe {
        ffi::lua_getglobal(l, c"arg".as_ptr());
        let table = ffi::lua_gettop(l);
        let mut count = 0;
        if ffi::lua_istable(l, table) != 0 {
            loop {
                ffi::luaL_checkstack(l, 4, c"too many arguments to script".as_ptr());
                ffi::lua_rawgeti(l, table, (count + 1) as _);
                if ffi::lua_isnil(l, -1) != 0 {
                    ffi::lua_pop(l, 1);
                    break;
                }
                count += 1;
            }
        }
        ffi::lua_remove(l, table);
        count
    }
}

/// What follows each protected call: 5.1 and LuaJIT collect all garbage after an error.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn after_call(l: *mut lua_State, status: c_int) {
    if cfg!(any(feature = "lua51", feature = "luajit")) && status != ffi::LUA_OK {
        // SAFETY: as promised.
        unsafe { ffi::lua_gc(l, ffi::LUA_GCCOLLECT, 0) };
    }
}

/// What follows the report of an error: 5.2 collects all garbage here.
///
/// # Safety
/// As [`open_libraries`].
pub unsafe fn after_report(l: *mut lua_State) {
    if cfg!(feature = "lua52") {
        // SAFETY: as promised.
        unsafe { ffi::lua_gc(l, ffi::LUA_GCCOLLECT, 0) };
    }
}

/// Turns an error object into the message that is reported, with a traceback.
///
/// # Safety
/// To be called by Lua, as a message handler.
#[cfg(feature = "lua51")]
pub unsafe extern "C-unwind" fn message_handler(l: *mut lua_State) -> c_int {
    // SAFETY: Lua passes a valid state and one argument. `debug` may be anything, the script can assign to it.
    unsafe {
        if ffi::lua_isstring(l, 1) == 0 {
            return 1;
        }
        ffi::lua_getglobal(l, c"debug".as_ptr());
        if ffi::lua_istable(l, -1) == 0 {
            ffi::lua_pop(l, 1);
            return 1;
        }
        ffi::lua_getfield(l, -1, c"traceback".as_ptr());
        if ffi::lua_isfunction(l, -1) == 0 {
            ffi::lua_pop(l, 2);
            return 1;
        }
        ffi::lua_pushvalue(l, 1);
        ffi::lua_pushinteger(l, 2); // without this function and `traceback`
        ffi::lua_call(l, 2, 1);
        1
    }
}

/// As above: like 5.3's, but an error object that does not become a string gets no traceback.
///
/// # Safety
/// As above.
#[cfg(feature = "lua52")]
pub unsafe extern "C-unwind" fn message_handler(l: *mut lua_State) -> c_int {
    // SAFETY: Lua passes a valid state and one argument.
    unsafe {
        let message = ffi::lua_tostring(l, 1);
        if !message.is_null() {
            ffi::luaL_traceback(l, l, message, 1);
        } else if ffi::lua_isnoneornil(l, 1) == 0
            && ffi::luaL_callmeta(l, 1, c"__tostring".as_ptr()) == 0
        {
            ffi::lua_pushstring(l, c"(no error message)".as_ptr());
        }
        1
    }
}

/// As above: an error object that is no string becomes one by `__tostring`, without a traceback, or is described.
///
/// # Safety
/// As above.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
pub unsafe extern "C-unwind" fn message_handler(l: *mut lua_State) -> c_int {
    // SAFETY: Lua passes a valid state and one argument.
    unsafe {
        let mut message = ffi::lua_tostring(l, 1);
        if message.is_null() {
            if ffi::luaL_callmeta(l, 1, c"__tostring".as_ptr()) != 0
                && ffi::lua_type(l, -1) == ffi::LUA_TSTRING
            {
                return 1;
            }
            message = ffi::lua_pushfstring(
                l,
                c"(error object is a %s value)".as_ptr(),
                ffi::luaL_typename(l, 1),
            );
        }
        ffi::luaL_traceback(l, l, message, 1);
        1
    }
}

/// As above: an error object that is no string becomes one by `__tostring`, or stays as it is.
///
/// # Safety
/// As above.
#[cfg(feature = "luajit")]
pub unsafe extern "C-unwind" fn message_handler(l: *mut lua_State) -> c_int {
    // LuaJIT has its own, and it is not the one of Lua 5.1 that `mlua_sys` provides.
    unsafe extern "C-unwind" {
        fn luaL_traceback(
            l: *mut lua_State,
            of: *mut lua_State,
            message: *const std::ffi::c_char,
            level: c_int,
        );
    }
    // SAFETY: Lua passes a valid state and one argument; the function is declared as in LuaJIT's lauxlib.h.
    unsafe {
        if ffi::lua_isstring(l, 1) == 0 {
            if ffi::lua_isnoneornil(l, 1) != 0
                || ffi::luaL_callmeta(l, 1, c"__tostring".as_ptr()) == 0
                || ffi::lua_isstring(l, -1) == 0
            {
                return 1;
            }
            ffi::lua_remove(l, 1);
        }
        luaL_traceback(l, l, ffi::lua_tostring(l, 1), 1);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::{library_names, release};

    #[test]
    fn the_release_is_named() {
        let expected = if cfg!(feature = "lua51") {
            "Lua 5.1."
        } else if cfg!(feature = "lua52") {
            "Lua 5.2."
        } else if cfg!(feature = "lua53") {
            "Lua 5.3."
        } else if cfg!(feature = "lua54") {
            "Lua 5.4."
        } else if cfg!(feature = "lua55") {
            "Lua 5.5."
        } else {
            "LuaJIT 2.1."
        };
        let number = release()
            .strip_prefix(expected)
            .unwrap_or_else(|| panic!("{}", release()));
        assert!(
            !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()),
            "{}",
            release()
        );
    }

    #[test]
    fn names_of_libraries() {
        let names = |text: &str| {
            let (module, global) = library_names(text.into());
            (
                String::from_utf8(module).unwrap(),
                global.map(|g| String::from_utf8(g).unwrap()),
            )
        };
        let named = |module: &str, global: &str| (module.to_owned(), Some(global.to_owned()));
        if cfg!(any(feature = "lua51", feature = "luajit")) {
            assert_eq!(names("a"), ("a".to_owned(), None));
            assert_eq!(names("g=a"), ("g=a".to_owned(), None));
        } else if cfg!(any(feature = "lua52", feature = "lua53")) {
            assert_eq!(names("a.b-v2"), named("a.b-v2", "a.b-v2"));
            assert_eq!(names("g=a"), named("g=a", "g=a"));
        } else {
            assert_eq!(names("a.b"), named("a.b", "a.b"));
            assert_eq!(names("a-v2"), named("a-v2", "a"));
            assert_eq!(names("g=a-v2"), named("a-v2", "g"));
            assert_eq!(names("g=a=b"), named("a=b", "g"));
        }
    }
}
