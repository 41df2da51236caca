#include "refused_stanza.h"

#include "question.h"

const char *s2sp_reply_token(enum s2sp_reply reply) {
	switch (reply) {
	case S2SP_REPLY_ERROR: return "error";
	case S2SP_REPLY_UNAVAILABLE: return "unavailable";
	case S2SP_REPLY_NONE:
	case S2SP_REPLY_ERROR_IF_DIRECTED: break;
	}
	return "none";
}

/* The kind of a stanza by what its opening tag says. */
static enum s2sp_stanza_kind kind_of(lua_State *L, int stanza) {
	int top = lua_gettop(L);
	s2sp_raw(L, stanza, S2SP_KEY_ATTR);
	enum s2sp_stanza_kind kind =
		s2sp_lua_stanza_kind(s2sp_raw_text(L, stanza, S2SP_KEY_NAME), s2sp_raw_text(L, top + 1, S2SP_KEY_TYPE));
	lua_settop(L, top);
	return kind;
}

enum s2sp_reply s2sp_lua_reply_to(lua_State *L, int stanza) {
	return s2sp_reply_to(S2SP_INCOMING, kind_of(L, stanza));
}

int s2sp_lua_refuse_stanza(lua_State *L, int origin, int stanza, struct s2sp_decision decision, enum s2sp_reply reply) {
	int pushed = s2sp_act_refusal(L, true, "refuse_stanza", origin, decision.reason);
	s2sp_lua_push_words(L, decision.rule);
	lua_pushvalue(L, stanza);
	lua_pushstring(L, s2sp_reply_token(reply));
	return pushed + 3;
}

/* Core notes in a session whom it has sent presence to: origin.directed[to]. */
static enum s2sp_answered is_noted(lua_State *L, int event, int attr) {
	int top = lua_gettop(L);
	bool noted = false;
	s2sp_raw(L, event, S2SP_KEY_ORIGIN);
	if (s2sp_raw(L, top + 1, S2SP_KEY_DIRECTED) == LUA_TTABLE && s2sp_raw(L, attr, S2SP_KEY_TO) == LUA_TSTRING) {
		lua_rawget(L, top + 2);
		noted = lua_toboolean(L, -1);
	}
	lua_settop(L, top);
	return noted ? S2SP_FACT_YES : S2SP_FACT_NO;
}

/* Where this cannot be found out nothing is forgotten: the contact may have seen the user come. */
static enum s2sp_answered has_passed(lua_State *L, int guard, int host, int attr) {
	struct s2sp_lua_question asked = { .guard = guard,
									   .host_value = host,
									   .local = s2sp_raw_text(L, attr, S2SP_KEY_FROM),
									   .contact = s2sp_raw_text(L, attr, S2SP_KEY_TO) };
	asked.parts = s2sp_jid_split(asked.local);
	return s2sp_lua_fact_is(L, &asked, "passed", "no") ? S2SP_FACT_NO : S2SP_FACT_YES;
}

static struct s2sp_refused_route refused_route(lua_State *L, int event, int guard, int host, enum s2sp_reason reason) {
	int top = lua_gettop(L), stanza = top + 1, attr = top + 2;
	luaL_checkstack(L, 24, NULL);
	s2sp_raw(L, event, S2SP_KEY_STANZA);
	s2sp_raw(L, stanza, S2SP_KEY_ATTR);
	struct s2sp_refused_stanza refused = { .kind = kind_of(L, stanza), .reason = reason };
	if (refused.kind == S2SP_STANZA_PRESENCE && s2sp_lua_joins(L, stanza))
		refused.kind = S2SP_STANZA_JOIN;
	struct s2sp_refused_route route = s2sp_refused_route(&refused);
	while (route.need != S2SP_REFUSED_NEED_NOTHING) {
		switch (route.need) {
		case S2SP_REFUSED_NEED_NOTHING: break;
		case S2SP_REFUSED_NEED_NOTED: refused.noted = is_noted(L, event, attr); break;
		case S2SP_REFUSED_NEED_PASSED: refused.passed = has_passed(L, guard, host, attr); break;
		}
		route = s2sp_refused_route(&refused);
	}
	lua_settop(L, top);
	return route;
}

static int push_route(lua_State *L, struct s2sp_refused_route route) {
	lua_pushstring(L, s2sp_reply_token(route.reply));
	lua_pushboolean(L, route.forget);
	return 2;
}

int s2sp_lua_refuse_route(lua_State *L, struct s2sp_decision decision, int stream) {
	struct s2sp_refused_route route = refused_route(L, ARG_EVENT, ARG_GUARD, ARG_HOST, decision.reason);
	int pushed = s2sp_act_refusal(L, true, "refuse_route", ARG_EVENT, decision.reason);
	s2sp_lua_push_words(L, decision.rule);
	pushed += 1 + push_route(L, route);
	if (stream == 0)
		return pushed;
	lua_pushvalue(L, stream);
	return pushed + 1;
}

/*
 * refused_route(guard, event, reason) -> reply, forget: what follows when the event's stanza is refused for that, for who has to refuse without
 * a decision (a handler that has failed). As refuse_route is told.
 */
static int lua_refused_route(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	enum s2sp_reason reason = s2sp_reason_from_token(s2sp_lua_text(L, 3));
	luaL_argcheck(L, reason != S2SP_REASON_COUNT, 3, "no such reason");
	lua_settop(L, 3);
	s2sp_raw(L, 2, S2SP_KEY_FROM_HOST);
	return push_route(L, refused_route(L, 2, 1, 4, reason));
}

int s2sp_lua_open_refusals(lua_State *L) {
	static const luaL_Reg functions[] = { { "refused_route", lua_refused_route }, { NULL, NULL } };
	luaL_newlibtable(L, functions);
	s2sp_push_keys(L);
	luaL_setfuncs(L, functions, S2SP_KEY_COUNT);
	return 1;
}
