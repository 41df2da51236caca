/* A record as Lua sees it: for the console and the log. */
#include "record_fields.h"

static const char *stage_token(enum s2sp_stage stage) {
	switch (stage) {
	case S2SP_STAGE_OPEN: return "open";
	case S2SP_STAGE_IDENTIFIED: return "identified";
	case S2SP_STAGE_AUTHENTICATED: return "authenticated";
	case S2SP_STAGE_ESTABLISHED: return "established";
	case S2SP_STAGE_REFUSED: break;
	}
	return "refused";
}

static void set_text(lua_State *L, const char *name, struct s2sp_text text) {
	if (text.length == 0)
		return;
	lua_pushlstring(L, text.bytes, text.length);
	lua_setfield(L, -2, name);
}

/* view(session) -> what the record says, for the console and the log; nil when there is no record. */
static int stream_view(lua_State *L) {
	lua_settop(L, 1);
	const struct s2sp_stream *stream = s2sp_lua_stream_get(L, 1);
	if (stream == NULL)
		return 1;
	lua_createtable(L, 0, 12);
	set_text(L, "direction", s2sp_text_from(stream->direction == S2SP_OUTGOING ? "out" : "in"));
	set_text(L, "stage", s2sp_text_from(stage_token((enum s2sp_stage)stream->stage)));
	set_text(L, "method", s2sp_text_from(s2sp_method_token((enum s2sp_method)stream->method)));
	set_text(L, "certificate",
			 s2sp_text_from(s2sp_certificate_verdict_token((enum s2sp_certificate_verdict)stream->certificate)));
	set_text(L, "remote", s2sp_lua_stream_remote(L, 2));
	set_text(L, "local_host", s2sp_lua_stream_local(L, 2));
	if (stream->partner != NULL)
		set_text(L, "partner", stream->partner->name);
	if (stream->stage == S2SP_STAGE_REFUSED) {
		set_text(L, "reason", s2sp_text_from(s2sp_reason_row((enum s2sp_reason)stream->reason)->token));
		if (stream->observed != S2SP_METHOD_NONE)
			set_text(L, "observed", s2sp_text_from(s2sp_method_token((enum s2sp_method)stream->observed)));
	}
	s2sp_lua_set_boolean(L, "tls", stream->tls);
	lua_getiuservalue(L, 2, S2SP_RECORD_PROTOCOL);
	lua_setfield(L, -2, "protocol");
	lua_getiuservalue(L, 2, S2SP_RECORD_REPORT);
	lua_setfield(L, -2, "report");
	return 1;
}

int s2sp_lua_open_stream(lua_State *L) {
	static const luaL_Reg functions[] = { { "stream_view", stream_view }, { NULL, NULL } };
	luaL_newmetatable(L, S2SP_LUA_RECORD_METATABLE);
	lua_pushliteral(L, S2SP_LUA_RECORD_METATABLE);
	lua_setfield(L, -2, "__name");
	/* A record is not to be tampered with from Lua. */
	lua_pushliteral(L, "s2s_partners.stream");
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}
