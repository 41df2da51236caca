/* Elements of dialback (XEP-0220): whose keys are verified, and what an answer is worth. */
#include "stream_handlers.h"

#include "key_questions.h"
#include "places.h"

/*
 * The domains of a db:result or db:verify against the stream's own pair. ALLOW, or REFUSE wrong-domain when the stream can
 * go on with a dialback error, or a refusal of the stream.
 */
static struct s2sp_decision dialback_pair(lua_State *L, struct s2sp_stream *stream, const struct s2sp_hooked *at,
										  bool *stream_ends) {
	struct s2sp_domain domain;
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	s2sp_lua_field(L, -1, "attr");
	s2sp_lua_domain(s2sp_lua_text_field(L, -1, "from"), &domain);
	struct s2sp_text to = s2sp_lua_text_field(L, -1, "to");
	lua_pop(L, 2);
	*stream_ends = true;
	struct s2sp_text remote = s2sp_lua_stream_remote(L, at->record);
	if (remote.length > 0 && !s2sp_text_equal(remote, s2sp_domain_text(&domain))) {
		const struct s2sp_partner *partner;
		struct s2sp_decision other = s2sp_decide_route(stream->policy, s2sp_domain_text(&domain), false, &partner);
		if (other.verdict != S2SP_VERDICT_ALLOW)
			return s2sp_stream_refuse(stream, other.reason, "a dialback element for a domain that is not listed");
		*stream_ends = false;
		return (struct s2sp_decision){ S2SP_VERDICT_REFUSE, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair" };
	}
	if (to.length == 0)
		return s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "a dialback element without 'to'");
	return s2sp_lua_stream_name(L, at->session, at->record, ARG_GUARD, s2sp_domain_text(&domain));
}

static int dialback_error(lua_State *L, int session, enum s2sp_reason reason) {
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	return s2sp_act_dialback_error(L, true, session, lua_gettop(L), reason);
}

static bool has_type(lua_State *L) {
	int top = lua_gettop(L);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	s2sp_lua_field(L, -1, "attr");
	bool has = s2sp_lua_field(L, -1, "type") != LUA_TNIL;
	lua_settop(L, top);
	return has;
}

static bool type_is(lua_State *L, const char *type) {
	int top = lua_gettop(L);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	s2sp_lua_field(L, -1, "attr");
	bool is = s2sp_lua_field_is(L, -1, "type", type);
	lua_settop(L, top);
	return is;
}

/* The stream of a dialback element whose domains are the stream's own. NULL: the handler returns *results. */
static struct s2sp_stream *begin_pair(lua_State *L, struct s2sp_hooked *at, int *results) {
	bool stream_ends = true;
	struct s2sp_decision decision;
	*results = 0;
	if (!s2sp_hook_concerns_stream(L))
		return NULL;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", at, &decision);
	if (stream != NULL)
		decision = dialback_pair(L, stream, at, &stream_ends);
	if (stream != NULL && decision.verdict == S2SP_VERDICT_ALLOW)
		return stream;
	*results =
		stream_ends ? s2sp_act_refuse(L, true, at->session, decision, NULL) : dialback_error(L, at->session, decision.reason);
	return NULL;
}

/* What a decision about an element means for core: it goes on, the stream is refused, or the element is passed over (WAIT). */
static int conclude(lua_State *L, int session, struct s2sp_decision decision) {
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		return s2sp_act_refuse(L, true, session, decision, NULL);
	lua_pushboolean(L, true);
	return 1;
}

/* db:result: a key on an incoming stream, the answer to ours on an outgoing one (XEP-0220 2.1). */
int s2sp_hook_dialback_result(lua_State *L) {
	struct s2sp_hooked at;
	int results;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = begin_pair(L, &at, &results);
	if (stream == NULL)
		return results;
	if (!s2sp_hook_is_incoming(L, at.session)) {
		if (!type_is(L, "valid"))
			return 0; /* core closes */
		bool key_sent = s2sp_lua_text_field(L, at.session, "dialback_key").length > 0;
		decision = s2sp_stream_dialback_answer(stream, key_sent, s2sp_lua_field_is(L, at.session, "external_auth", "attempting"));
	} else if (has_type(L)) {
		decision =
			s2sp_stream_refuse(stream, S2SP_REASON_DIALBACK_NOT_ALLOWED, "a dialback result from the side that asks for one");
	} else {
		decision = s2sp_stream_dialback(stream);
		if (decision.verdict == S2SP_VERDICT_ALLOW)
			decision = s2sp_lua_place_hold(L, ARG_GUARD, at.record);
		if (decision.verdict == S2SP_VERDICT_ALLOW) {
			/* Turned away is asked too: the next key on this stream is passed over, or a crowd would be answered for each. */
			decision = s2sp_lua_question_ask(L, ARG_GUARD, at.record);
			if (decision.verdict != S2SP_VERDICT_ALLOW)
				return dialback_error(L, at.session, decision.reason);
		}
	}
	return conclude(L, at.session, decision);
}

/* Whether the key that we are asked about is ours, as core would say; true too where it cannot be asked beforehand. */
static bool key_is_ours(lua_State *L) {
	int top = lua_gettop(L);
	s2sp_lua_field(L, ARG_GUARD, "key_is_ours");
	lua_pushvalue(L, ARG_HOST);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	lua_call(L, 2, 1);
	bool ours = lua_toboolean(L, -1);
	lua_settop(L, top);
	return ours;
}

/* A request on an incoming stream. For each key that is not ours core has a warning, and anybody can send any number. */
static int verify_request(lua_State *L, struct s2sp_stream *stream, int session) {
	struct s2sp_decision decision = s2sp_stream_verify(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW || key_is_ours(L))
		return conclude(L, session, decision);
	decision = s2sp_stream_wrong_key(stream);
	if (decision.verdict != S2SP_VERDICT_WAIT)
		return conclude(L, session, decision);
	int pushed = s2sp_act_refusal(L, true, "deny_key", session, decision.reason);
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	return pushed + 1;
}

/* db:verify: a request on an incoming stream, the answer to ours on an outgoing one (XEP-0220 2.1). */
int s2sp_hook_dialback_verify(lua_State *L) {
	struct s2sp_hooked at;
	int results;
	struct s2sp_stream *stream = begin_pair(L, &at, &results);
	if (stream == NULL)
		return results;
	if (s2sp_hook_is_incoming(L, at.session))
		return verify_request(L, stream, at.session); /* the filter passes no answer on */
	s2sp_lua_question_answered(L, ARG_GUARD, at.record);
	/* An answer is worth no more than the stream it comes over; whom it authenticates is judged at s2s-authenticated. */
	return conclude(L, at.session, s2sp_stream_verify(stream));
}
