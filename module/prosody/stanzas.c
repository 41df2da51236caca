/* Stanza events: what comes in over a stream, what is routed out, and the filter that sees every element first. */
#include "authorise.h"
#include "handler.h"

#include "policy.h"
#include "stream_limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { FIRST = 1000 };

static const struct s2sp_decision no_record = {
	S2SP_VERDICT_REFUSE, S2SP_REASON_INTERNAL_ERROR, "the stream has no record: it was opened while the module was not guarding"
};

/* The policy of a local host, NULL when it has none. Pushes nothing: the guard keeps it. */
static const struct s2sp_policy *policy_of(lua_State *L, int guard, int host) {
	int top = lua_gettop(L);
	const struct s2sp_policy *policy = NULL;
	host = lua_absindex(L, host);
	if (s2sp_lua_field(L, guard, "policies") == LUA_TTABLE && lua_type(L, host) == LUA_TSTRING) {
		lua_pushvalue(L, host);
		lua_rawget(L, -2);
		policy = s2sp_lua_test_policy(L, -1);
	}
	lua_settop(L, top);
	return policy;
}

/* Whether the domain of a JID is the canonical domain `remote`. */
static bool jid_is_of(struct s2sp_text jid, struct s2sp_text remote) {
	struct s2sp_text name = s2sp_jid_domain(jid);
	if (s2sp_text_equal(name, remote))
		return remote.length > 0;
	struct s2sp_domain domain;
	s2sp_lua_domain(name, &domain);
	return domain.length > 0 && s2sp_text_equal(s2sp_domain_text(&domain), remote);
}

static int refuse_stanza(lua_State *L, int origin, int stanza, struct s2sp_decision decision) {
	int pushed = s2sp_act(L, true, "refuse_stanza");
	lua_pushvalue(L, origin);
	lua_pushvalue(L, stanza);
	lua_pushstring(L, s2sp_reason_row(decision.reason)->token);
	lua_pushstring(L, decision.rule);
	return pushed + 4;
}

/* message, presence and iq to any address of the host, whatever the stream they came over (bidi included). */
static int on_stanza_in(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "origin");
	int origin = lua_gettop(L);
	/* Asked first: who has a record is a stream, and nearly all that comes here has. */
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, origin);
	if (stream == NULL) {
		s2sp_lua_field(L, origin, "dummy");
		if (!s2sp_lua_is_s2s(L, origin) || lua_toboolean(L, -1))
			return 0; /* a client's, or core's own bounce of what could not be sent */
		return s2sp_act_refuse(L, true, origin, no_record, NULL);
	}
	struct s2sp_text remote = s2sp_lua_stream_remote(L, origin + 1);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	int stanza = lua_gettop(L);
	s2sp_lua_field(L, stanza, "attr");
	struct s2sp_decision decision;
	if (!jid_is_of(s2sp_lua_text_field(L, -1, "from"), remote)) {
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a stanza from a domain that is not the stream's");
		return s2sp_act_refuse(L, true, origin, decision, "not-authorized");
	}
	const struct s2sp_policy *policy = policy_of(L, ARG_GUARD, ARG_HOST);
	decision = s2sp_lua_stream_stanza(L, origin, origin + 1, ARG_GUARD, s2sp_lua_text(L, ARG_HOST));
	const struct s2sp_partner *partner = policy == stream->policy ? stream->partner : policy == NULL ? NULL : s2sp_policy_find(policy, remote, NULL);
	if (decision.verdict == S2SP_VERDICT_ALLOW && partner != NULL)
		return s2sp_lua_authorise_in(L, origin, stanza, policy, partner);
	if (stream->stage != S2SP_STAGE_ESTABLISHED)
		return s2sp_act_refuse(L, true, origin, s2sp_stream_premature(stream), "not-authorized");
	return refuse_stanza(L, origin, stanza, decision.verdict == S2SP_VERDICT_ALLOW ? no_record : decision);
}

/*
 * The stream core would use for this route, if there is one already: pushed with its record (or nil). False when there is
 * none, or none that is taken for authenticated yet (core queues).
 */
static bool existing_stream(lua_State *L, struct s2sp_stream **stream) {
	s2sp_lua_field(L, ARG_GUARD, "hosts");
	if (!lua_istable(L, -1))
		return false;
	lua_pushvalue(L, ARG_HOST);
	lua_gettable(L, -2);
	s2sp_lua_field(L, -1, "s2sout");
	if (!lua_istable(L, -1))
		return false;
	s2sp_lua_field(L, ARG_EVENT, "to_host");
	if (lua_isnil(L, -1) || lua_gettable(L, -2) != LUA_TTABLE)
		return false;
	if (!s2sp_lua_field_is(L, -1, "type", "s2sout") && !s2sp_lua_field_is(L, -1, "type", "s2sin"))
		return false;
	int session = lua_gettop(L);
	*stream = s2sp_lua_stream_get(L, session);
	return true;
}

/* Whether the stanza's own addresses are those it is routed by: core answers over the stream a request came in on. */
static bool routed_by_its_addresses(lua_State *L, int attr) {
	struct s2sp_text from = s2sp_jid_domain(s2sp_lua_text_field(L, attr, "from"));
	struct s2sp_text to = s2sp_jid_domain(s2sp_lua_text_field(L, attr, "to"));
	struct s2sp_text host = s2sp_lua_text_field(L, ARG_EVENT, "from_host");
	/* It is judged by the policy of the host whose event this is. */
	return s2sp_text_equal(host, s2sp_lua_text(L, ARG_HOST)) && (from.length == 0 || s2sp_text_equal(from, host)) &&
	       (to.length == 0 || s2sp_text_equal(to, s2sp_lua_text_field(L, ARG_EVENT, "to_host")));
}

static int act_on_event(lua_State *L, const char *action, struct s2sp_decision decision) {
	int pushed = s2sp_act(L, true, action);
	lua_pushvalue(L, ARG_EVENT);
	lua_pushstring(L, s2sp_reason_row(decision.reason)->token);
	lua_pushstring(L, decision.rule);
	return pushed + 3;
}

/* route/remote: before anything is queued, looked up or dialled. */
static int on_route(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	int stanza = lua_gettop(L);
	s2sp_lua_field(L, stanza, "attr");
	if (!routed_by_its_addresses(L, stanza + 1))
		return act_on_event(L, "reroute", (struct s2sp_decision){ S2SP_VERDICT_REFUSE, S2SP_REASON_WRONG_DOMAIN, "routed by other addresses than its own" });
	struct s2sp_domain domain;
	s2sp_lua_domain(s2sp_lua_text_field(L, ARG_EVENT, "to_host"), &domain);
	const struct s2sp_partner *partner;
	bool verify = s2sp_lua_field_is(L, stanza, "name", "db:verify");
	const struct s2sp_policy *policy = policy_of(L, ARG_GUARD, ARG_HOST);
	struct s2sp_decision decision = s2sp_decide_route(policy, s2sp_domain_text(&domain), verify, &partner);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return act_on_event(L, "refuse_route", decision);
	struct s2sp_stream *stream;
	bool existing = existing_stream(L, &stream);
	if (!existing || (stream != NULL && stream->stage >= S2SP_STAGE_AUTHENTICATED && stream->partner == partner)) {
		int results = s2sp_lua_authorise_out(L, stanza, policy, partner);
		/* nil: core goes on with it */
		if (existing && (results == 0 || lua_isnil(L, -results)))
			s2sp_lua_stanza_counts(L, stream, stanza, stanza + 1);
		return results;
	}
	int pushed = act_on_event(L, "refuse_route", no_record);
	lua_pushvalue(L, -pushed - 2); /* the session, to be closed */
	return pushed + 1;
}

static const struct s2sp_handler stanza_handlers[] = {
	{ "message/bare", on_stanza_in, FIRST, true },  { "message/full", on_stanza_in, FIRST, true },
	{ "message/host", on_stanza_in, FIRST, true },  { "presence/bare", on_stanza_in, FIRST, true },
	{ "presence/full", on_stanza_in, FIRST, true }, { "presence/host", on_stanza_in, FIRST, true },
	{ "iq/bare", on_stanza_in, FIRST, true },       { "iq/full", on_stanza_in, FIRST, true },
	{ "iq/host", on_stanza_in, FIRST, true },       { "route/remote", on_route, FIRST, true },
};

void s2sp_stanza_handlers_install(lua_State *L, int guard, int context, int host) {
	s2sp_handlers_install(L, stanza_handlers, COUNT(stanza_handlers), guard, context, host);
}

/* --- the filter --- */

enum { FILTER_STANZA = 1, FILTER_GUARD, FILTER_SESSION };

static bool is_authenticated(lua_State *L, const struct s2sp_stream *stream) {
	if (stream->stage < S2SP_STAGE_AUTHENTICATED)
		return false;
	return s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sin") || s2sp_lua_field_is(L, FILTER_SESSION, "type", "s2sout");
}

/*
 * Core fires events by the name of what it takes for a stanza: <pre-message/> would reach the handlers that are for what local
 * users send.
 */
static bool is_stanza_name(struct s2sp_text name) {
	return s2sp_text_equal(name, S2SP_TEXT("message")) || s2sp_text_equal(name, S2SP_TEXT("presence")) ||
	       s2sp_text_equal(name, S2SP_TEXT("iq"));
}

static bool is_stanza(lua_State *L, int element) {
	return is_stanza_name(s2sp_lua_text_field(L, element, "name"));
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
		return s2sp_act_refuse(L, false, FILTER_SESSION, no_record, NULL);
	s2sp_lua_field(L, FILTER_STANZA, "attr");
	int attr = lua_gettop(L);
	struct s2sp_text xmlns = s2sp_lua_text_field(L, attr, "xmlns");
	struct s2sp_decision decision;
	if (xmlns.length == 0 || s2sp_text_equal(xmlns, S2SP_TEXT("jabber:client"))) {
		if (is_authenticated(L, stream)) {
			if (xmlns.length == 0 && is_stanza(L, FILTER_STANZA)) {
				/* Core checks it too, and closes without a word. */
				if (jid_is_of(s2sp_lua_text_field(L, attr, "from"), s2sp_lua_stream_remote(L, record))) {
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
		if (to.length == 0 || s2sp_text_equal(to, local) || jid_is_of(to, s2sp_domain_text(&domain)))
			return 0;
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a handshake element for another host than the stream's own");
	} else {
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "the stream does not say which host it is for");
	}
	return s2sp_act_refuse(L, false, FILTER_SESSION, decision, NULL);
}

/* Upvalues of the filter: the guard, and the names that the quick look reads by, which spares making strings of them. */
enum { UP_GUARD = 1, UP_RECORD, UP_ATTR, UP_XMLNS, UP_FROM, UP_NAME, UP_COUNT = UP_NAME };
static const char *const filter_names[UP_COUNT + 1] = {
	[UP_RECORD] = S2SP_LUA_STREAM_FIELD, [UP_ATTR] = "attr", [UP_XMLNS] = "xmlns", [UP_FROM] = "from", [UP_NAME] = "name"
};

/* Pushes table[name], without metamethods: cannot throw. */
static int raw_field(lua_State *L, int table, int upvalue) {
	if (lua_type(L, table) != LUA_TTABLE) {
		lua_pushnil(L);
		return LUA_TNIL;
	}
	lua_pushvalue(L, lua_upvalueindex(upvalue));
	return lua_rawget(L, table);
}

/*
 * What judge_element would let pass, and nearly every element is: a stanza of an established stream, from an account of its own
 * domain. It does to the record what judge_element does. Nothing in here can throw, so it needs no protection; what it does not know goes the long way.
 */
static bool is_ordinary(lua_State *L) {
	enum { STANZA = 1, SESSION, RECORD, ATTR };
	raw_field(L, SESSION, UP_RECORD);
	struct s2sp_stream *stream = s2sp_lua_stream_test(L, RECORD);
	if (stream == NULL || stream->stage != S2SP_STAGE_ESTABLISHED || raw_field(L, STANZA, UP_ATTR) != LUA_TTABLE ||
	    raw_field(L, ATTR, UP_XMLNS) != LUA_TNIL || raw_field(L, ATTR, UP_FROM) != LUA_TSTRING)
		return false;
	struct s2sp_text remote = s2sp_lua_stream_remote(L, RECORD);
	struct s2sp_text from = s2sp_lua_text(L, ATTR + 2);
	struct s2sp_text domain = s2sp_jid_domain(from);
	/* From an account, so it is no keepalive. */
	if (remote.length == 0 || domain.bytes == from.bytes || !s2sp_text_equal(domain, remote))
		return false;
	raw_field(L, STANZA, UP_NAME);
	if (!is_stanza_name(s2sp_lua_text(L, -1)))
		return false;
	s2sp_stream_active(stream, s2sp_now());
	stream->verify_only = false;
	return true;
}

/* Called by util.filters with (stanza, session); nil drops the stanza. */
static int filter(lua_State *L) {
	lua_settop(L, 2);
	bool ordinary = is_ordinary(L);
	lua_settop(L, ordinary ? 1 : 2);
	if (ordinary)
		return 1;
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
	for (int upvalue = UP_RECORD; upvalue <= UP_COUNT; upvalue++)
		lua_pushstring(L, filter_names[upvalue]);
	lua_pushcclosure(L, filter, UP_COUNT);
	return 1;
}
