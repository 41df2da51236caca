/*
 * Rosters by XEP-0227, as `contacts` reads them. What is checked is in portable_fuzz.lua; libFuzzer sees that it takes no more than its time,
 * lua_state.c that it takes no more than its memory.
 */
#include "lua_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static lua_State *L;
	static unsigned runs;
	if (L == NULL) {
		L = fuzz_lua_open("spec/fuzz/portable_fuzz.lua", NULL);
		fuzz_lua_follow(L);
	}
	lua_pushvalue(L, 1);
	lua_pushlstring(L, (const char *)data, size);
	fuzz_lua_call(L, 1);
	if (++runs % 256 == 0)
		lua_gc(L, LUA_GCCOLLECT);
	return 0;
}
