#define _POSIX_C_SOURCE 200809L

#include "lua_state.h"

#include <lualib.h>
#include <time.h>

/* Far more than any input of the size that fuzzers make should need. */
#define MEMORY_MAX ((size_t)256 << 20)

int luaopen_s2s_partners(lua_State *L);

static size_t memory;

static void *allocate(void *owner, void *block, size_t old, size_t size) {
	(void)owner;
	if (block == NULL)
		old = 0; /* a type instead of a size */
	if (size == 0) {
		free(block);
		memory -= old;
		return NULL;
	}
	if (size > old && memory - old + size > MEMORY_MAX)
		return NULL;
	void *moved = realloc(block, size);
	if (moved != NULL)
		memory += size - old;
	return moved;
}

static _Noreturn void finding(lua_State *L) {
	const char *text = lua_tostring(L, -1);
	fprintf(stderr, "ERROR: %s\n", text == NULL ? luaL_typename(L, -1) : text);
	abort();
}

static int add_traceback(lua_State *L) {
	luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

void fuzz_lua_call(lua_State *L, int arguments) {
	int handler = lua_gettop(L) - arguments;
	lua_pushcfunction(L, add_traceback);
	lua_insert(L, handler);
	if (lua_pcall(L, arguments, 0, handler) != LUA_OK)
		finding(L);
	lua_settop(L, handler - 1);
}

/*
 * The clock stands still while a state is made: from it and from addresses Lua 5.4 makes the seed of its hashes, and from that the order of keys. With
 * another one the same input takes other ways, and what looks new to libFuzzer is another thing in each run. Lua's library finds this function since
 * the fuzzers export their symbols.
 */
static bool clock_stands;

time_t time(time_t *result) {
	struct timespec now = { .tv_sec = 1 };
	if (!clock_stands)
		clock_gettime(CLOCK_REALTIME, &now);
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}

lua_State *fuzz_lua_open(const char *path, const luaL_Reg *helpers) {
	clock_stands = true;
	lua_State *L = lua_newstate(allocate, NULL);
	clock_stands = false;
	CHECK(L != NULL);
	luaL_openlibs(L);
	if (luaL_loadfile(L, path) != LUA_OK)
		finding(L);
	luaopen_s2s_partners(L);
	lua_newtable(L);
	if (helpers != NULL)
		luaL_setfuncs(L, helpers, 0);
	if (lua_pcall(L, 2, 1, 0) != LUA_OK)
		finding(L);
	CHECK(lua_gettop(L) == 1);
	return L;
}

/* libFuzzer takes what is in this section for counters of its own (see its FuzzerExtraCounters.cpp). */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t lines[8192];

/* Which line came before matters. Lines of two files that look alike that way do no harm, and asking for the file is what takes time. */
static void count_line(lua_State *L, lua_Debug *debug) {
	(void)L;
	static unsigned before;
	unsigned line = (unsigned)debug->currentline;
	lines[(line * 41 + before) % sizeof(lines)]++;
	before = line * 3;
}

void fuzz_lua_follow(lua_State *L) {
	lua_sethook(L, count_line, LUA_MASKLINE, 0);
}
