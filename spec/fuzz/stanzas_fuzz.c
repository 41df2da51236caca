/*
 * The stanzas and handshake elements of a peer who has control of everything in them, as the handlers get them from core: see
 * stanzas_fuzz.lua. Here is what Lua cannot do: read the record of a stream, and say what time it is.
 */
#define _GNU_SOURCE /* for CLOCK_MONOTONIC_COARSE */

#include <time.h>

#include "lua_state.h"
#include "record.h"

static long long now_ms = 1000000;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
		return __real_clock_gettime(clock, time);
	*time = (struct timespec){ .tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000 };
	return 0;
}

/* pass(ms): later than before, or earlier. */
static int pass(lua_State *L) {
	now_ms += luaL_checkinteger(L, 1);
	return 0;
}

/* record(session) -> all that the record says in one text, stage, remote domain; nil without a record. Metamethods are not asked. */
static int record(lua_State *L) {
	lua_settop(L, 1);
	if (!lua_istable(L, 1))
		return 0;
	lua_pushliteral(L, S2SP_LUA_STREAM_FIELD);
	lua_rawget(L, 1);
	const struct s2sp_stream *stream = s2sp_lua_stream_test(L, 2);
	if (stream == NULL)
		return 0;
	char text[200];
	snprintf(text, sizeof(text), "%d %d %d %d %d%d%d%d%d%d%d%d %d %lld %lld %lld", stream->direction, stream->stage,
			 stream->method, stream->certificate, stream->tls, stream->sasl_offered, stream->dialback_offered, stream->key_asked,
			 stream->asked, stream->verify_only, stream->counted, stream->awaits_answer, stream->reason,
			 (long long)stream->created, (long long)stream->active, (long long)stream->keepalive);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, 2);
	lua_pushstring(L, text);
	lua_pushinteger(L, stream->stage);
	lua_pushlstring(L, remote.length == 0 ? "" : remote.bytes, remote.length);
	return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const luaL_Reg helpers[] = { { "pass", pass }, { "record", record }, { NULL, NULL } };
	static lua_State *L;
	static unsigned runs;
	if (L == NULL)
		L = fuzz_lua_open("spec/fuzz/stanzas_fuzz.lua", helpers);
	lua_pushvalue(L, 1);
	lua_pushlstring(L, (const char *)data, size);
	fuzz_lua_call(L, 1);
	if (++runs % 256 == 0)
		lua_gc(L, LUA_GCCOLLECT);
	return 0;
}
