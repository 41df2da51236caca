/* The filter, which sees every element of a stream as it is parsed. */
#include "handler.h"
#include "stream_limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { FILTER_STANZA = 1, FILTER_GUARD, FILTER_SESSION };

static bool is_authenticated(lua_State *L, const struct s2sp_stream *stream) {
	if (stream->stage < S2SP_STAGE_AUTHENTICATED)
		return false;
	return s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sin") || s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sout");
}

static bool is_stanza(lua_State *L, int element) {
	return s2sp_is_stanza_name(s2sp_lua_text_field(L, element, "name"));
}

/*
 * What belongs to a handshake between servers. Anything else before authentication is data (RFC 6120 4.9.3.12); core's handlers
 * for clients raise at some of it, once for each that a stranger sends.
 */
static bool is_handshake(lua_State *L, int element, struct s2sp_text xmlns) {
	static const struct {
		struct s2sp_text xmlns, name;
	} known[] = {
#define KNOWN(xmlns, name) { { xmlns, sizeof(xmlns) - 1 }, { name, sizeof(name) - 1 } }
		KNOWN("http://etherx.jabber.org/streams", "features"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-tls", "starttls"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-tls", "proceed"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-tls", "failure"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-sasl", "auth"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-sasl", "success"),
		KNOWN("urn:ietf:params:xml:ns:xmpp-sasl", "failure"),
		KNOWN("jabber:server:dialback", "result"),
		KNOWN("jabber:server:dialback", "verify"),
		KNOWN("urn:xmpp:bidi", "bidi"),
#undef KNOWN
	};
	struct s2sp_text name = s2sp_lua_text_field(L, element, "name");
	for (size_t i = 0; i < COUNT(known); i++) {
		if (s2sp_text_equal(xmlns, known[i].xmlns) && s2sp_text_equal(name, known[i].name))
			return true;
	}
	return false;
}

/*
 * Every element at the moment it is parsed, before core picks the host whose handlers see it. Three rules need no more than that:
 * no stanza before authentication (core would drop it in silence) or from another domain than the stream's own, and no handshake
 * element for another host. It must not conclude that a stream is authenticated already: what was parsed earlier may still be waiting.
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
				decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a stanza from a domain that is not the stream's");
				return s2sp_act_refuse(L, false, FILTER_SESSION, decision, "not-authorized");
			}
			/* No stanza. Core would answer it without looking at who it says it is from, or take it for a local user's. */
			int pushed = s2sp_act(L, false, "drop_element");
			lua_pushvalue(L, FILTER_SESSION);
			lua_pushstring(L, s2sp_reason_row(S2SP_REASON_WRONG_DOMAIN)->token);
			return pushed + 2;
		}
		decision = s2sp_lua_stream_refresh(L, FILTER_SESSION, record, FILTER_GUARD);
		if (decision.verdict == S2SP_VERDICT_ALLOW)
			decision = s2sp_stream_premature(stream);
		return s2sp_act_refuse(L, false, FILTER_SESSION, decision, "not-authorized");
	}
	if (stream->stage < S2SP_STAGE_AUTHENTICATED) {
		decision = s2sp_lua_stream_refresh(L, FILTER_SESSION, record, FILTER_GUARD);
		if (decision.verdict != S2SP_VERDICT_ALLOW)
			return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
		if (!is_handshake(L, FILTER_STANZA, xmlns))
			return s2sp_act_refuse(L, false, FILTER_SESSION, s2sp_stream_premature(stream), "not-authorized");
	}
	struct s2sp_text to = s2sp_lua_text_field(L, attr, "to");
	struct s2sp_text local = s2sp_lua_stream_local(L, record);
	if (local.length > 0) {
		struct s2sp_domain domain;
		s2sp_lua_domain(local, &domain);
		if (to.length == 0 || s2sp_text_equal(to, local) || s2sp_jid_is_of(to, s2sp_domain_text(&domain)))
			return 0;
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a handshake element for another host than the stream's own");
	} else {
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "the stream does not say which host it is for");
	}
	return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
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

/* Called by util.filters with (stanza, session); nil drops the stanza. */
static int filter(lua_State *L) {
	if (lua_gettop(L) != 2)
		lua_settop(L, 2);
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
			return 0;
	}
	/* The error is on top. */
	if (lua_getfield(L, lua_upvalueindex(UP_GUARD), "internal_error") == LUA_TFUNCTION) {
		lua_createtable(L, 0, 1);
		lua_pushvalue(L, 2);
		lua_setfield(L, -2, "session");
		lua_pushvalue(L, -3);
		lua_pushliteral(L, "stanzas/in");
		(void)lua_pcall(L, 3, 0, 0);
	}
	return 0;
}

int s2sp_lua_stanza_filter(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	s2sp_push_keys(L);
	lua_pushvalue(L, 1);
	lua_pushcclosure(L, filter, UP_COUNT);
	return 1;
}
