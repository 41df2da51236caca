/* The filter, which sees every element of a stream as it is parsed. */
#include <stdint.h>

#include "handler.h"
#include "host_objects.h"
#include "stream_times.h"

enum { FILTER_STANZA = 1, FILTER_GUARD, FILTER_SESSION };

static bool is_authenticated(lua_State *L, const struct s2sp_stream *stream) {
	if (stream->stage < S2SP_STAGE_AUTHENTICATED)
		return false;
	return s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sin") || s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sout");
}

static bool is_stanza(lua_State *L, int element) {
	return s2sp_is_stanza_name(s2sp_lua_text_field(L, element, "name"));
}

/* More of anything is out of shape whatever the element is, so that nobody need count on. */
enum { ELEMENTS_MEASURED = 1000 };

/* What is inside the element at `element`. Recursion is as deep as the levels are, which has a bound. */
static void measure_inside(lua_State *L, int element, int level, struct s2sp_handshake_shape *shape) {
	luaL_checkstack(L, 2, NULL);
	for (lua_Integer i = 1; shape->elements <= ELEMENTS_MEASURED; i++) {
		int type = lua_geti(L, element, i);
		if (type == LUA_TSTRING) {
			shape->text += lua_rawlen(L, -1);
		} else if (type == LUA_TTABLE) {
			shape->elements++;
			shape->children += level == 1;
			if (level < S2SP_HANDSHAKE_DEPTH_MAX)
				measure_inside(L, lua_gettop(L), level + 1, shape);
			else
				shape->elements = SIZE_MAX;
		}
		lua_pop(L, 1);
		if (type != LUA_TSTRING && type != LUA_TTABLE)
			return;
		if (i > 2 * ELEMENTS_MEASURED) /* the parser leaves one text between two elements */
			shape->elements = SIZE_MAX;
	}
}

static struct s2sp_handshake_shape measure(lua_State *L, int element, int attr) {
	struct s2sp_handshake_shape shape = {
		.from = s2sp_lua_text_field(L, attr, "from"),
		.to = s2sp_lua_text_field(L, attr, "to"),
		.id = s2sp_lua_text_field(L, attr, "id"),
	};
	if (lua_istable(L, attr)) {
		for (lua_pushnil(L); lua_next(L, attr) != 0; lua_pop(L, 1)) {
			shape.attributes += lua_rawlen(L, -2) + lua_rawlen(L, -1);
			if (shape.attributes > S2SP_HANDSHAKE_ATTRIBUTES_MAX) {
				lua_pop(L, 2);
				return shape;
			}
		}
	}
	measure_inside(L, element, 1, &shape);
	return shape;
}

/* The element goes no further. An answer in its own protocol where the stream goes on, else the refusal of the stream. */
static int refuse_shape(lua_State *L, struct s2sp_decision decision) {
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
	return s2sp_act_dialback_error(L, false, FILTER_SESSION, FILTER_STANZA, decision.reason);
}

/* What is no stanza: a row of the table, sent by the side that may, when it may, for this host, in the row's shape. */
static int judge_handshake(lua_State *L, struct s2sp_stream *stream, int record, int attr, struct s2sp_text xmlns) {
	struct s2sp_decision decision;
	bool authenticated = stream->stage >= S2SP_STAGE_AUTHENTICATED;
	if (!authenticated) {
		decision = s2sp_lua_stream_refresh(L, FILTER_SESSION, record, FILTER_GUARD);
		if (decision.verdict != S2SP_VERDICT_ALLOW)
			return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
	}
	bool type = s2sp_lua_field(L, attr, "type") != LUA_TNIL;
	const struct s2sp_handshake_row *row = s2sp_handshake_find(xmlns, s2sp_lua_text_field(L, FILTER_STANZA, "name"), type);
	if (row == NULL)
		return s2sp_act_refuse(L, false, FILTER_SESSION, s2sp_stream_misplaced(stream, NULL),
							   authenticated ? "unsupported-stanza-type" : "not-authorized");
	struct s2sp_text to = s2sp_lua_text_field(L, attr, "to");
	struct s2sp_text local = s2sp_lua_stream_local(L, record);
	if (local.length == 0) {
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "the stream does not say which host it is for");
		return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
	}
	if (to.length > 0 && !s2sp_text_equal(to, local)) {
		struct s2sp_domain domain;
		s2sp_lua_domain(local, &domain);
		if (!s2sp_jid_is_of(to, s2sp_domain_text(&domain))) {
			decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN,
										  "a handshake element for another host than the stream's own");
			return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
		}
	}
	enum s2sp_side side = stream->direction == S2SP_INCOMING ? S2SP_SIDE_INITIATING : S2SP_SIDE_ACCEPTING;
	if (!s2sp_handshake_allowed(row, side, authenticated))
		return s2sp_act_refuse(L, false, FILTER_SESSION, s2sp_stream_misplaced(stream, row), NULL);
	struct s2sp_handshake_shape shape = measure(L, FILTER_STANZA, attr);
	enum s2sp_handshake_fault fault = s2sp_handshake_check(row, &shape);
	if (fault != S2SP_HANDSHAKE_FITS)
		return refuse_shape(L, s2sp_stream_misshapen(stream, row, fault));
	if (!s2sp_handshake_idle(row, side, authenticated))
		return 0;
	return s2sp_act_refusal(L, false, "drop_element", FILTER_SESSION, row->reason);
}

/*
 * Every element at the moment it is parsed, before core picks the host whose handlers see it, and before anything looks into it. The rules that
 * need no more than that: no stanza before authentication (core would drop it in silence) or from another domain than the stream's own, and
 * no element of a handshake but one of the table, for this host, in its shape. It must not conclude that a stream is authenticated
 * already: what was parsed earlier may still be waiting.
 */
static int judge_element(lua_State *L) {
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, FILTER_SESSION);
	int record = lua_gettop(L);
	if (stream == NULL)
		return s2sp_act_refuse(L, false, FILTER_SESSION, s2sp_no_record, NULL);
	s2sp_lua_field(L, FILTER_STANZA, "attr");
	int attr = lua_gettop(L);
	struct s2sp_text xmlns = s2sp_lua_text_field(L, attr, "xmlns");
	struct s2sp_decision decision;
	if (xmlns.length == 0 || s2sp_text_equal(xmlns, S2SP_TEXT("jabber:client"))) {
		if (is_authenticated(L, stream)) {
			if (xmlns.length == 0 && is_stanza(L, FILTER_STANZA)) {
				/* Core checks it too, and closes without a word. */
				if (s2sp_jid_is_of(s2sp_lua_text_field(L, attr, "from"), s2sp_lua_stream_remote(L, record))) {
					s2sp_lua_stanza_counts(L, stream, FILTER_STANZA, attr);
					stream->verify_only = false;
					return 0;
				}
				decision =
					s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a stanza from a domain that is not the stream's");
				return s2sp_act_refuse(L, false, FILTER_SESSION, decision, "not-authorized");
			}
			/* No stanza. Core would answer it without looking at who it says it is from, or take it for a local user's. */
			return s2sp_act_refusal(L, false, "drop_element", FILTER_SESSION, S2SP_REASON_WRONG_DOMAIN);
		}
		decision = s2sp_lua_stream_refresh(L, FILTER_SESSION, record, FILTER_GUARD);
		if (decision.verdict == S2SP_VERDICT_ALLOW)
			decision = s2sp_stream_premature(stream);
		return s2sp_act_refuse(L, false, FILTER_SESSION, decision, "not-authorized");
	}
	return judge_handshake(L, stream, record, attr, xmlns);
}

/* Upvalue of the filter, behind the keys. */
enum { UP_GUARD = S2SP_KEY_COUNT + 1, UP_COUNT = UP_GUARD };

/*
 * What judge_element would let pass, and nearly every element is: a stanza of an established stream, from an account of its own
 * domain. It does to the record what judge_element does. Nothing in here can throw, so it needs no protection; what it does not know goes the long way.
 */
static bool is_ordinary(lua_State *L) {
	enum { STANZA = 1, SESSION, RECORD, ATTR };
	if (!lua_istable(L, SESSION) || !lua_istable(L, STANZA))
		return false;
	s2sp_push(L, SESSION, S2SP_KEY_RECORD);
	struct s2sp_stream *stream = s2sp_lua_stream_test(L, RECORD);
	if (stream == NULL || stream->stage != S2SP_STAGE_ESTABLISHED || s2sp_push(L, STANZA, S2SP_KEY_ATTR) != LUA_TTABLE ||
		s2sp_push(L, ATTR, S2SP_KEY_XMLNS) != LUA_TNIL)
		return false;
	struct s2sp_text remote = s2sp_stream_remote(stream);
	struct s2sp_jid parts = s2sp_jid_split(s2sp_push_text(L, ATTR, S2SP_KEY_FROM));
	/* From an account, so it is no keepalive. */
	if (remote.length == 0 || parts.node.bytes == NULL || !s2sp_text_equal(parts.domain, remote))
		return false;
	if (!s2sp_is_stanza_name(s2sp_push_text(L, STANZA, S2SP_KEY_NAME)))
		return false;
	s2sp_stream_active(stream, s2sp_now());
	stream->verify_only = false;
	return true;
}

enum { LANGUAGE_MAX = 100 }; /* bytes; no tag of a language has a third of it (RFC 5646 4.4.1) */

/*
 * The parser gives each element the language of the stream's header (RFC 6120 4.7.4), which may be as long as a stanza may: a peer that has
 * announced it would send a stanza of that size with every few bytes. It names no language, and is left out. Cannot throw.
 */
static void drop_long_language(lua_State *L) {
	enum { STANZA = 1, SESSION, ATTR };
	if (!lua_istable(L, STANZA))
		return;
	if (s2sp_push(L, STANZA, S2SP_KEY_ATTR) == LUA_TTABLE && s2sp_push_text(L, ATTR, S2SP_KEY_LANGUAGE).length > LANGUAGE_MAX) {
		lua_pushnil(L);
		s2sp_host_raw_set(L, lua_upvalueindex(UP_GUARD), ATTR, S2SP_KEY_LANGUAGE);
	}
	lua_settop(L, SESSION);
}

/* What is dropped: nothing at all while nothing is enforced. The stanza is at index 1. */
static int drop(lua_State *L) {
	if (!s2sp_observing(L, lua_upvalueindex(UP_GUARD)))
		return 0;
	lua_pushvalue(L, 1);
	return 1;
}

/* Called by util.filters with (stanza, session); nil drops the stanza. */
static int filter(lua_State *L) {
	if (lua_gettop(L) != 2)
		lua_settop(L, 2);
	drop_long_language(L);
	if (is_ordinary(L)) {
		lua_pushvalue(L, 1);
		return 1;
	}
	lua_settop(L, 2);
	lua_pushcfunction(L, judge_element);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, lua_upvalueindex(UP_GUARD));
	lua_pushvalue(L, 2);
	if (lua_pcall(L, 3, LUA_MULTRET, 0) == LUA_OK) {
		int results = lua_gettop(L) - 2;
		if (results == 0) {
			lua_settop(L, 1);
			return 1;
		}
		/* stanza, session, result (unused), action, arguments */
		if (lua_pcall(L, results - 2, 0, 0) == LUA_OK)
			return drop(L);
	}
	/* The error is on top. */
	int error = lua_gettop(L);
	s2sp_push_actions(L, lua_upvalueindex(UP_GUARD), s2sp_observing(L, lua_upvalueindex(UP_GUARD)));
	if (s2sp_lua_field(L, -1, "internal_error") == LUA_TFUNCTION) {
		lua_createtable(L, 0, 1);
		lua_pushvalue(L, 2);
		lua_setfield(L, -2, "session");
		lua_pushvalue(L, error);
		lua_pushliteral(L, "stanzas/in");
		(void)lua_pcall(L, 3, 0, 0);
	}
	return drop(L);
}

int s2sp_lua_stanza_filter(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	s2sp_push_keys(L);
	lua_pushvalue(L, 1);
	lua_pushcclosure(L, filter, UP_COUNT);
	return 1;
}
