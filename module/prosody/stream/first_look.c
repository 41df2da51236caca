#include "first_look.h"

#include "policy_object.h"
#include "record.h"

enum { ARG_GUARD_TABLE = 1, ARG_DATA };

int s2sp_lua_first_look(lua_State *L) {
	luaL_checktype(L, ARG_GUARD_TABLE, LUA_TTABLE);
	lua_settop(L, ARG_DATA);
	struct s2sp_stream_header header;
	if (!s2sp_stream_header_read(s2sp_lua_text(L, ARG_DATA), &header))
		return 0;
	s2sp_lua_field(L, ARG_GUARD_TABLE, "policies");
	if (!lua_istable(L, -1))
		return 0;
	lua_pushlstring(L, header.to.bytes, header.to.length);
	lua_rawget(L, -2);
	const struct s2sp_policy *policy = s2sp_lua_test_policy(L, -1);
	if (policy == NULL)
		return 0;
	/* The same question that a record would be asked, without the facts that only a session has. */
	struct s2sp_domain domain;
	struct s2sp_stream stream;
	s2sp_lua_domain(header.from, &domain);
	s2sp_stream_begin(&stream, S2SP_INCOMING, policy);
	struct s2sp_decision decision = s2sp_stream_identify(&stream, s2sp_domain_text(&domain));
	if (decision.verdict != S2SP_VERDICT_REFUSE || decision.reason != S2SP_REASON_UNLISTED_DOMAIN)
		return 0;
	const struct s2sp_reason_row *row = s2sp_reason_row(decision.reason);
	lua_pushlstring(L, header.from.bytes, header.from.length);
	lua_pushlstring(L, header.to.bytes, header.to.length);
	lua_pushstring(L, row->token);
	lua_pushstring(L, row->stream_condition);
	s2sp_lua_push_words(L, decision.rule);
	return 5;
}
