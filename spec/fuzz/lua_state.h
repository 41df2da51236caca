/* A Lua state for fuzzers: bounded memory, and a way to tell libFuzzer which lines of Lua an input took. */
#ifndef S2SP_SPEC_FUZZ_LUA_STATE_H
#define S2SP_SPEC_FUZZ_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "fuzz.h"

/*
 * A state with the standard libraries, in which the file at `path` has been run with two arguments: the shared object's functions,
 * and `helpers` (or NULL) as a table. What it returned is at index 1. Lives as long as the process. Any error ends the process.
 */
lua_State *fuzz_lua_open(const char *path, const luaL_Reg *helpers);

/* Lines that run from here on count as coverage. */
void fuzz_lua_follow(lua_State *L);

/* Calls the function below `arguments` values on top, for no result. An error is a finding. */
void fuzz_lua_call(lua_State *L, int arguments);

#endif
