/*
 * What arrives at the inner port, and over the streams that this server opens to the server inside, as bytes: see inside_fuzz.lua. Here is what
 * Lua cannot do: say what time it is.
 */
#define _GNU_SOURCE /* for CLOCK_MONOTONIC_COARSE */

#include <time.h>

#include "lua_state.h"

static long long now_ms = 1000000;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
		return __real_clock_gettime(clock, time);
	*time = (struct timespec){ .tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000 };
	return 0;
}

/* pass(ms) */
static int pass(lua_State *L) {
	now_ms += luaL_checkinteger(L, 1);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const luaL_Reg helpers[] = { { "pass", pass }, { NULL, NULL } };
	static lua_State *L;
	static unsigned runs;
	if (L == NULL) {
		L = fuzz_lua_open("spec/fuzz/inside_fuzz.lua", helpers);
		fuzz_lua_follow(L);
	}
	lua_pushvalue(L, 1);
	lua_pushlstring(L, (const char *)data, size);
	fuzz_lua_call(L, 1);
	if (++runs % 64 == 0)
		lua_gc(L, LUA_GCCOLLECT);
	return 0;
}
