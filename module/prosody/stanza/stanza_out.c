/* What a local address sends to a partner, from any author: users, rooms, core on behalf of either. */
#include "question.h"

#include "counters.h"
#include "host_objects.h"
#include "refused_stanza.h"
#include "routed.h"

static bool is_own_answer(lua_State *L, int stanza) {
	int top = lua_gettop(L);
	bool own = s2sp_raw(L, ARG_GUARD, S2SP_KEY_ANSWERS) == LUA_TTABLE && s2sp_is_own_answer(L, top + 1, stanza);
	lua_settop(L, top);
	return own;
}

const char *s2sp_to_remember(const struct s2sp_stanza_facts *facts) {
	bool unverified = facts->partner_type == S2SP_PUBLIC_UNVERIFIED;
	if (facts->kind == S2SP_STANZA_SERVICE)
		return unverified || !facts->group_chat ? "request" : NULL;
	if (facts->local != S2SP_LOCAL_USER)
		return NULL;
	/* Whatever the partner is by now: what was sent before its type has changed is taken back as well. */
	if (facts->kind == S2SP_STANZA_UNAVAILABLE)
		return "undirected";
	return unverified && facts->kind == S2SP_STANZA_PRESENCE ? "directed" : NULL;
}

/* Core answers iqs, and presence of impossible types, from the bare JID of a user. */
bool s2sp_speaks_for_user(const struct s2sp_lua_question *question) {
	enum s2sp_stanza_kind kind = question->facts.kind;
	return (kind == S2SP_STANZA_PRESENCE_ERROR || kind == S2SP_STANZA_IQ_ERROR || kind == S2SP_STANZA_IQ_RESULT) &&
		   question->facts.local == S2SP_LOCAL_USER && question->parts.bare.length == question->local.length;
}

bool s2sp_may_bounce(const struct s2sp_lua_question *question) {
	enum s2sp_stanza_kind kind = question->facts.kind;
	return (kind == S2SP_STANZA_MESSAGE_ERROR || kind == S2SP_STANZA_IQ_ERROR || kind == S2SP_STANZA_PRESENCE_ERROR) &&
		   question->facts.local == S2SP_LOCAL_USER && question->parts.bare.length != question->local.length;
}

/*
 * Whether the error comes from an address that nobody can have. Core bounces what is sent there before any handler of ours sees it
 * (0.12.3, 13.0.1), in the same way for any local part of the address: it is the host that speaks, and what may become of
 * the user must not show.
 */
static bool is_nobodys(lua_State *L, const struct s2sp_lua_question *question) {
	int top = lua_gettop(L);
	bool nobodys = false;
	if (s2sp_may_bounce(question) && s2sp_lua_field(L, question->guard, "is_address") == LUA_TFUNCTION) {
		lua_pushlstring(L, question->local.bytes, question->local.length);
		nobodys = lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isboolean(L, -1) && !lua_toboolean(L, -1);
	}
	lua_settop(L, top);
	return nobodys;
}

/* A message that is nothing but personal events is not sent; for who sent it, it has been. */
static int keep_back(lua_State *L, const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	s2sp_lua_count(L, ARG_GUARD, ARG_HOST, policy, partner, S2SP_OUTGOING, S2SP_REASON_STATUS_NOTE_REMOVED);
	int pushed = s2sp_act(L, true, "passed");
	lua_pushvalue(L, ARG_EVENT);
	lua_pushstring(L, s2sp_reason_row(S2SP_REASON_STATUS_NOTE_REMOVED)->token);
	lua_pushnil(L);
	return pushed + 3;
}

/* The answer in a user's name gives way to an error. `change`: what is counted and told of it, or NONE. */
static int answer_alike(lua_State *L, const struct s2sp_lua_question *question, const char *condition, enum s2sp_reason change) {
	s2sp_lua_count(L, ARG_GUARD, ARG_HOST, question->policy, question->partner, S2SP_OUTGOING, change);
	lua_pushnil(L); /* core goes on, with the error */
	s2sp_push_action(L, "answer_alike");
	lua_pushvalue(L, ARG_EVENT);
	lua_pushstring(L, condition);
	lua_pushstring(L, change == S2SP_REASON_NONE ? NULL : s2sp_reason_row(change)->token);
	return 5;
}

int s2sp_lua_authorise_out(lua_State *L, int stanza, const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	struct s2sp_text name = s2sp_raw_text(L, stanza, S2SP_KEY_NAME);
	if (s2sp_text_equal(name, S2SP_TEXT("db:verify")))
		return 0; /* core's own, judged by domain; the parser gives no element such a name */
	if (!s2sp_is_stanza_name(name)) {
		/* No stanza. Core routes whatever a client or component gives an address to: to whom, no rule would have a say in. */
		lua_pushboolean(L, true);
		return 1;
	}
	luaL_checkstack(L, 24, NULL);
	if (is_own_answer(L, stanza))
		return 0;
	struct s2sp_lua_question question;
	if (!s2sp_lua_question_begin(L, &question, S2SP_OUTGOING, policy, partner, ARG_GUARD, ARG_HOST, stanza)) {
		lua_pushboolean(L, true); /* no stanza at all: it goes nowhere */
		return 1;
	}
	if (is_nobodys(L, &question)) {
		question.facts.local = S2SP_LOCAL_HOST;
		question.facts.spellings = false;
	}
	struct s2sp_authorisation decision = s2sp_lua_authorise(L, &question);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_lua_refuse_route(L, (struct s2sp_decision){ decision.verdict, decision.reason, decision.rule }, 0);
	enum s2sp_events events = decision.personal_events ? S2SP_EVENTS_NONE : s2sp_lua_events(L, &question);
	if (events == S2SP_EVENTS_ALL && question.facts.kind != S2SP_STANZA_IQ_RESULT)
		return keep_back(L, policy, partner);
	if (events == S2SP_EVENTS_SOME) {
		s2sp_lua_push_without_events(L, &question);
		lua_pushvalue(L, -1);
		s2sp_host_raw_set(L, ARG_GUARD, ARG_EVENT, S2SP_KEY_STANZA);
		lua_replace(L, stanza);
	}
	bool speaks = s2sp_speaks_for_user(&question);
	if (speaks && question.facts.kind == S2SP_STANZA_PRESENCE_ERROR) {
		lua_pushboolean(L, true);
		return 1;
	}
	if (events == S2SP_EVENTS_ALL)
		return answer_alike(L, &question,
							s2sp_lua_fact_is(L, &question, "sees", "yes") ? "item-not-found" : "service-unavailable",
							S2SP_REASON_STATUS_NOTE_REMOVED);
	if (speaks && s2sp_lua_answer_is_replaced(L, &question))
		return answer_alike(L, &question, "service-unavailable",
							events == S2SP_EVENTS_SOME ? S2SP_REASON_STATUS_NOTE_REMOVED : S2SP_REASON_NONE);
	bool removed = decision.change == S2SP_REASON_STATUS_NOTE_REMOVED && s2sp_lua_without_notes(L, stanza, ARG_GUARD);
	if (removed)
		s2sp_host_raw_set(L, ARG_GUARD, ARG_EVENT, S2SP_KEY_STANZA);
	bool changed = removed || events == S2SP_EVENTS_SOME;
	s2sp_lua_count(L, ARG_GUARD, ARG_HOST, policy, partner, S2SP_OUTGOING,
				   changed ? S2SP_REASON_STATUS_NOTE_REMOVED : S2SP_REASON_NONE);
	const char *remember = s2sp_to_remember(&question.facts);
	if (!changed && remember == NULL)
		return 0;
	lua_pushnil(L); /* core goes on */
	s2sp_push_action(L, "passed");
	lua_pushvalue(L, ARG_EVENT);
	if (changed)
		lua_pushstring(L, s2sp_reason_row(S2SP_REASON_STATUS_NOTE_REMOVED)->token);
	else
		lua_pushnil(L);
	lua_pushstring(L, remember);
	return 5;
}
