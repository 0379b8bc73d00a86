/* The plainest interpreter: runs a script with its arguments, as lua.c does, and nothing else.
   It is linked with the very library that is in `leash`, so that a comparison shows what leash adds. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static int with_traceback(lua_State *L) {
  lua_getglobal(L, "debug");
  lua_getfield(L, -1, "traceback");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

int main(int argc, char **argv) {
  int i, status;
  lua_State *L = luaL_newstate();
  if (L == NULL || argc < 2) return EXIT_FAILURE;
  luaL_openlibs(L);
#if LUA_VERSION_NUM == 504
  lua_gc(L, LUA_GCGEN, 0, 0); /* as lua.c does, since 5.4 */
#elif LUA_VERSION_NUM > 504
  lua_gc(L, LUA_GCGEN);
#endif
  lua_createtable(L, argc, 2);
  for (i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
  lua_pushcfunction(L, with_traceback);
  status = luaL_loadfile(L, argv[1]);
  if (status == 0) {
    for (i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
    status = lua_pcall(L, argc - 2, 0, 1);
  }
  if (status != 0) fprintf(stderr, "%s: %s\n", argv[0], lua_tostring(L, -1));
  lua_close(L);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
