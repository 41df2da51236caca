/* Stanza events: what comes in over a stream, and what is routed out. */
#include "question.h"
#include "counters.h"
#include "handler.h"
#include "host_objects.h"
#include "fast_path.h"
#include "refused_stanza.h"
#include "routed.h"
#include "policy_object.h"
#include "places.h"
#include "stream_times.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { FIRST = 1000 };

/* The policy of the host whose event it is, NULL when it has none. The guard keeps it. */
static const struct s2sp_policy *policy_of_host(lua_State *L) {
	const struct s2sp_policy *policy = NULL;
	if (s2sp_raw(L, ARG_GUARD, S2SP_KEY_POLICIES) == LUA_TTABLE && lua_type(L, ARG_HOST) == LUA_TSTRING) {
		lua_pushvalue(L, ARG_HOST);
		lua_rawget(L, -2);
		policy = s2sp_lua_test_policy(L, -1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return policy;
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
		return s2sp_act_refuse(L, true, origin, s2sp_no_record, NULL);
	}
	int record = lua_gettop(L);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	int stanza = lua_gettop(L);
	s2sp_lua_field(L, stanza, "attr");
	struct s2sp_decision decision;
	if (!s2sp_jid_is_of(s2sp_lua_text_field(L, -1, "from"), remote)) {
		decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a stanza from a domain that is not the stream's");
		return s2sp_act_refuse(L, true, origin, decision, "not-authorized");
	}
	if (stream->stage == S2SP_STAGE_REFUSED && s2sp_lua_observing(L, ARG_GUARD)) {
		/* It would not be there: so is each stanza over it counted. */
		decision =
			(struct s2sp_decision){ S2SP_VERDICT_REFUSE, (enum s2sp_reason)stream->reason, "its stream would have been refused" };
		return s2sp_lua_refuse_stanza(L, origin, stanza, decision, S2SP_REPLY_NONE);
	}
	const struct s2sp_policy *policy = policy_of_host(L);
	decision = s2sp_lua_stream_stanza(L, origin, record, ARG_GUARD, s2sp_lua_text(L, ARG_HOST));
	const struct s2sp_partner *partner = policy == stream->policy ? stream->partner
										 : policy == NULL         ? NULL
																  : s2sp_policy_find(policy, remote, NULL);
	if (decision.verdict == S2SP_VERDICT_ALLOW && partner != NULL) {
		s2sp_lua_keep_numbers(L, ARG_GUARD, ARG_HOST, record);
		return s2sp_lua_authorise_in(L, origin, stanza, policy, partner);
	}
	if (stream->stage != S2SP_STAGE_ESTABLISHED)
		return s2sp_act_refuse(L, true, origin, s2sp_stream_premature(stream), "not-authorized");
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_no_record;
	return s2sp_lua_refuse_stanza(L, origin, stanza, decision, s2sp_lua_reply_to(L, stanza));
}

/* Whether core takes it for authenticated: it then sends over it. Else it queues, or opens a stream when there is none. */
static bool is_in_use(lua_State *L, int session) {
	struct s2sp_text type = s2sp_raw_text(L, session, S2SP_KEY_TYPE);
	return s2sp_text_equal(type, S2SP_TEXT("s2sout")) || s2sp_text_equal(type, S2SP_TEXT("s2sin"));
}

/* Whether the stanza's own addresses are those it is routed by: core answers over the stream a request came in on. */
static bool routed_by_its_addresses(lua_State *L, int attr) {
	struct s2sp_text from = s2sp_jid_domain(s2sp_raw_text(L, attr, S2SP_KEY_FROM));
	struct s2sp_text to = s2sp_jid_domain(s2sp_raw_text(L, attr, S2SP_KEY_TO));
	struct s2sp_text host = s2sp_raw_text(L, ARG_EVENT, S2SP_KEY_FROM_HOST);
	/* It is judged by the policy of the host whose event this is. */
	return s2sp_text_equal(host, s2sp_lua_text(L, ARG_HOST)) && (from.length == 0 || s2sp_text_equal(from, host)) &&
		   (to.length == 0 || s2sp_text_equal(to, s2sp_raw_text(L, ARG_EVENT, S2SP_KEY_TO_HOST)));
}

/*
 * Core answers over the stream a request came in on. Where the answer is from another of our hosts, or for another domain, than that
 * stream's, it has to take its own way: guard.own_way(event) -> the domains of the stanza's own addresses, prepared; nil of what is none.
 */
static int reroute(lua_State *L) {
	int from = lua_gettop(L) + 1, to = from + 1, hosts = from + 2;
	if (s2sp_lua_field(L, ARG_GUARD, "own_way") == LUA_TFUNCTION) {
		lua_pushvalue(L, ARG_EVENT);
		lua_call(L, 1, 2);
	}
	lua_settop(L, to);
	struct s2sp_text from_host = s2sp_lua_text(L, from), to_host = s2sp_lua_text(L, to);
	struct s2sp_own_addresses own = { .known = from_host.bytes != NULL && to_host.bytes != NULL };
	if (own.known && s2sp_raw(L, ARG_GUARD, S2SP_KEY_HOSTS) == LUA_TTABLE) {
		lua_pushvalue(L, from);
		own.from_ours = lua_rawget(L, hosts) != LUA_TNIL;
		lua_pushvalue(L, to);
		own.to_ours = lua_rawget(L, hosts) != LUA_TNIL;
	}
	own.same = s2sp_text_equal(from_host, s2sp_raw_text(L, ARG_EVENT, S2SP_KEY_FROM_HOST)) &&
			   s2sp_text_equal(to_host, s2sp_raw_text(L, ARG_EVENT, S2SP_KEY_TO_HOST));
	lua_settop(L, to);
	struct s2sp_decision decision = s2sp_decide_own_way(own);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_lua_refuse_route(L, decision, 0);
	int pushed = s2sp_act(L, true, "reroute");
	lua_pushvalue(L, ARG_EVENT);
	lua_pushvalue(L, from);
	lua_pushvalue(L, to);
	return pushed + 3;
}

/* Stack of what looks at a route. */
enum { ROUTED = ARG_COUNT + 1, ROUTED_ATTR, ROUTE_HOST, ROUTE_TO, ROUTES, ROUTE, ROUTE_RECORD };

/* Pushes what core has for this route, from ROUTE_HOST to ROUTE_RECORD: nil where there is none. */
static struct s2sp_stream *push_route(lua_State *L) {
	struct s2sp_stream *stream = NULL;
	s2sp_raw(L, ARG_GUARD, S2SP_KEY_HOSTS);
	if (lua_istable(L, ROUTE_HOST)) {
		lua_pushvalue(L, ARG_HOST);
		lua_rawget(L, ROUTE_HOST);
		lua_replace(L, ROUTE_HOST);
	}
	if (s2sp_raw(L, ARG_EVENT, S2SP_KEY_TO_HOST) == LUA_TSTRING && lua_istable(L, ROUTE_HOST))
		stream = s2sp_push_route(L, ROUTE_HOST, ROUTE_TO);
	lua_settop(L, ROUTE_RECORD);
	return stream;
}

/* route/remote: before anything is queued, looked up or dialled. */
static int on_route(lua_State *L) {
	s2sp_raw(L, ARG_EVENT, S2SP_KEY_STANZA);
	s2sp_raw(L, ROUTED, S2SP_KEY_ATTR);
	if (!routed_by_its_addresses(L, ROUTED_ATTR))
		return reroute(L);
	struct s2sp_domain domain;
	s2sp_lua_domain(s2sp_raw_text(L, ARG_EVENT, S2SP_KEY_TO_HOST), &domain);
	const struct s2sp_partner *partner;
	bool verify = s2sp_text_equal(s2sp_raw_text(L, ROUTED, S2SP_KEY_NAME), S2SP_TEXT("db:verify"));
	const struct s2sp_policy *policy = policy_of_host(L);
	struct s2sp_decision decision = s2sp_decide_route(policy, s2sp_domain_text(&domain), verify, &partner);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_lua_refuse_route(L, decision, 0);
	struct s2sp_stream *stream = push_route(L);
	bool in_use = is_in_use(L, ROUTE);
	if (in_use && (stream == NULL || stream->stage < S2SP_STAGE_AUTHENTICATED || stream->partner != partner)) {
		decision = s2sp_no_record;
		if (stream != NULL && stream->stage == S2SP_STAGE_REFUSED)
			decision = (struct s2sp_decision){ S2SP_VERDICT_REFUSE, (enum s2sp_reason)stream->reason,
											   "the stream has been refused already" };
		return s2sp_lua_refuse_route(L, decision, ROUTE);
	}
	int results = s2sp_lua_authorise_out(L, ROUTED, policy, partner);
	if (results > 0 && !lua_isnil(L, -results))
		return results; /* else core goes on with it */
	if (stream != NULL && !verify) {
		decision = s2sp_lua_place_for_stanza(L, ARG_GUARD, ROUTE_RECORD);
		if (decision.verdict == S2SP_VERDICT_ALLOW && !in_use)
			decision = s2sp_stream_queue(stream); /* COMPAT Prosody 0.12: its queue has no bound */
		if (decision.verdict != S2SP_VERDICT_ALLOW)
			return s2sp_lua_refuse_route(L, decision, 0);
	}
	if (in_use) {
		s2sp_lua_stanza_counts(L, stream, ROUTED, ROUTED_ATTR);
		s2sp_lua_keep_numbers(L, ARG_GUARD, ARG_HOST, ROUTE_RECORD);
	}
	return results;
}

#define STANZA_IN(event)                                                                                                         \
	{ event, on_stanza_in, FIRST, true, s2sp_fast_path_in }
static const struct s2sp_handler stanza_handlers[] = {
	STANZA_IN("message/bare"),  STANZA_IN("message/full"),
	STANZA_IN("message/host"),  STANZA_IN("presence/bare"),
	STANZA_IN("presence/full"), STANZA_IN("presence/host"),
	STANZA_IN("iq/bare"),       STANZA_IN("iq/full"),
	STANZA_IN("iq/host"),       { "route/remote", on_route, FIRST, true, s2sp_fast_path_out },
};

void s2sp_stanza_handlers_install(lua_State *L, int guard, int context, int host) {
	s2sp_handlers_install(L, stanza_handlers, COUNT(stanza_handlers), guard, context, host);
}
