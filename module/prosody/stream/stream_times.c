/* For clock_gettime, which ISO C does not have. */
#define _POSIX_C_SOURCE 200809L

#include "stream_times.h"

#include <time.h>

#include "handler.h"
#include "places.h"
#include "policy_object.h"

s2sp_milliseconds s2sp_now(void) {
	struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	return (s2sp_milliseconds)now.tv_sec * 1000 + (s2sp_milliseconds)now.tv_nsec / 1000000;
}

static bool is_bare_domain(struct s2sp_text jid) {
	return jid.length > 0 && memchr(jid.bytes, '@', jid.length) == NULL && memchr(jid.bytes, '/', jid.length) == NULL;
}

/* The namespace of the stanza's first child; empty when it has none. */
static struct s2sp_text first_child(lua_State *L, int stanza) {
	int top = lua_gettop(L);
	struct s2sp_text xmlns = { NULL, 0 };
	if (s2sp_lua_field(L, stanza, "tags") == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TTABLE) {
		s2sp_lua_field(L, -1, "attr");
		xmlns = s2sp_lua_text_field(L, -1, "xmlns");
		if (xmlns.length == 0)
			xmlns = S2SP_TEXT("?");
	}
	lua_settop(L, top);
	return xmlns;
}

/* A ping from server to server (XEP-0199 4.2), or what can be the answer to one. Nobody is behind either. */
static bool is_keepalive(lua_State *L, int stanza, int attr) {
	if (!s2sp_lua_field_is(L, stanza, "name", "iq"))
		return false;
	if (!is_bare_domain(s2sp_lua_text_field(L, attr, "from")) || !is_bare_domain(s2sp_lua_text_field(L, attr, "to")))
		return false;
	if (s2sp_lua_field_is(L, attr, "type", "error"))
		return true;
	struct s2sp_text child = first_child(L, stanza);
	return s2sp_text_equal(child, S2SP_TEXT("urn:xmpp:ping")) ||
		   (child.length == 0 && s2sp_lua_field_is(L, attr, "type", "result"));
}

void s2sp_lua_stanza_counts(lua_State *L, struct s2sp_stream *stream, int stanza, int attr) {
	if (!is_keepalive(L, stanza, attr))
		s2sp_stream_active(stream, s2sp_now());
}

/* The limits of the stream's own policy, or those of `policy` when it has none. NULL: there are none at all. */
static const struct s2sp_limits *limits_for(const struct s2sp_stream *stream, const struct s2sp_policy *policy) {
	if (stream->policy != NULL)
		return s2sp_policy_limits(stream->policy);
	return policy == NULL ? NULL : s2sp_policy_limits(policy);
}

struct s2sp_decision s2sp_lua_stream_due(lua_State *L, int guard, int record, const struct s2sp_policy *policy, bool *keepalive) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	const struct s2sp_limits *limits = limits_for(stream, policy);
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "there are no limits yet" };
	*keepalive = false;
	if (limits != NULL)
		decision = s2sp_stream_due(stream, limits, s2sp_now(), keepalive);
	/* A stream that was opened to verify a key takes its place as soon as the peer has sent stanzas over it. */
	if (limits != NULL && decision.verdict == S2SP_VERDICT_ALLOW && stream->stage == S2SP_STAGE_ESTABLISHED)
		decision = s2sp_lua_place_hold(L, guard, record);
	return decision;
}

/* accepted(session, seconds): the connection was accepted so long before the session came to be (a TLS handshake first). */
static int accepted(lua_State *L) {
	lua_Number seconds = luaL_checknumber(L, 2);
	lua_settop(L, 2);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, 1);
	s2sp_milliseconds now = s2sp_now();
	if (stream != NULL && seconds > 0 && seconds * 1000 < (lua_Number)now)
		s2sp_stream_clock_start(stream, now - (s2sp_milliseconds)(seconds * 1000));
	return 0;
}

/* keepalive_sent(session, answer) */
static int keepalive_sent(lua_State *L) {
	bool answer = lua_toboolean(L, 2);
	lua_settop(L, 1);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, 1);
	if (stream != NULL)
		s2sp_stream_keepalive_sent(stream, s2sp_now(), answer);
	return 0;
}

/*
 * iq/host, before the stanza is judged: the answer to a ping of ours (guard.keepalives[id] is the stream it went over), which
 * may come over another stream of the same pair of domains, and goes no further.
 */
static int on_keepalive_answer(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "origin");
	int origin = lua_gettop(L);
	if (!s2sp_lua_is_s2s(L, origin))
		return 0;
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	s2sp_lua_field(L, -1, "attr");
	int attr = lua_gettop(L);
	if (!s2sp_lua_field_is(L, attr, "type", "result") && !s2sp_lua_field_is(L, attr, "type", "error"))
		return 0;
	if (!is_bare_domain(s2sp_lua_text_field(L, attr, "from")) || s2sp_lua_field(L, ARG_GUARD, "keepalives") != LUA_TTABLE)
		return 0;
	int keepalives = lua_gettop(L);
	s2sp_lua_field(L, attr, "id");
	if (lua_type(L, -1) != LUA_TSTRING)
		return 0;
	lua_pushvalue(L, -1);
	if (lua_rawget(L, keepalives) != LUA_TTABLE)
		return 0;
	int pinged = lua_gettop(L), record = pinged + 1, record_over = pinged + 2;
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, pinged);
	struct s2sp_stream *over = s2sp_lua_stream_get(L, origin);
	if (stream == NULL || over == NULL || over->stage != S2SP_STAGE_ESTABLISHED)
		return 0;
	if (!s2sp_text_equal(s2sp_lua_stream_remote(L, record), s2sp_lua_stream_remote(L, record_over)) ||
		!s2sp_text_equal(s2sp_lua_stream_local(L, record), s2sp_lua_stream_local(L, record_over)))
		return 0;
	s2sp_stream_keepalive_answered(stream);
	lua_pushvalue(L, keepalives + 1);
	lua_pushnil(L);
	lua_rawset(L, keepalives);
	lua_pushboolean(L, true);
	return 1;
}

void s2sp_keepalive_handlers_install(lua_State *L, int guard, int context, int host) {
	/* Before any stanza is judged (1000). */
	static const struct s2sp_handler handlers[] = { { "iq/host", on_keepalive_answer, 1001, true, NULL } };
	s2sp_handlers_install(L, handlers, sizeof(handlers) / sizeof(handlers[0]), guard, context, host);
}

int s2sp_lua_open_times(lua_State *L) {
	static const luaL_Reg functions[] = { { "stream_accepted", accepted }, { "keepalive_sent", keepalive_sent }, { NULL, NULL } };
	luaL_newlib(L, functions);
	return 1;
}
