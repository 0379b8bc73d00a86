/* What Lua's own assertions are compiled with: `cargo xtask asserts` (asserts.rs) has it included first, and in the place of the system's <assert.h>. */
#if !defined(LEASH_ASSERT_H) && !defined(__ASSEMBLER__)
#define LEASH_ASSERT_H

/* Some files define it, which comes too late after what is included here: `mremap` would be taken to return an int. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef assert
#ifdef LUA_USE_ASSERT

/* LuaJIT, of which `lj_assert_fail` alone calls `abort`, has a text in `fmt`, and is declared not to return. */
#define noreturn
#define assert(c) ((c) ? (void)0 : (abort)())
#define abort() (strcmp(fmt, "active hook flag removed") ? (abort)() : (void)0)

#else

/* Those that may fail: a hook leaves hooks off, which we switch on, and Lua a line later; and one of Lua 5.3's own, by a `gmatch` that is called once more after a match was too complex. */
static inline __attribute__((unused)) void leash_assert(int holds, const char *what, const char *file, int line) {
  if (!holds && strcmp(what, "!L->allowhook") && strcmp(what, "ms->matchdepth == MAXCCALLS")) {
    fprintf(stderr, "LUA ASSERT %s:%d: %s\n", file, line, what);
    abort();
  }
}

#define assert(c) leash_assert(!!(c), #c, __FILE__, __LINE__)
#ifndef LUAI_ASSERT
#define lua_assert(c) leash_assert(!!(c), #c, __FILE__, __LINE__) /* not by `assert`: the text would have its macros replaced */
#endif

#endif
#endif
