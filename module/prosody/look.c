/*
 * Whether a stanza passes with nothing to be done but to count it, as nearly every stanza does. on_stanza_in and on_route
 * (stanzas.c) ask the same of the same decisions in core, at several times the price: what is not known here is for them. Each call
 * of the Lua API counts, so what is read stays on the stack until the handler clears it; all of it is within the LUA_MINSTACK
 * slots that there are without asking, which would make the stack grow anew for each stanza.
 */
#include "look.h"

#include "authorise.h"
#include "counters.h"
#include "policy.h"
#include "stream_limits.h"

static inline struct s2sp_text host_name(lua_State *L) {
	struct s2sp_text name;
	name.bytes = lua_tolstring(L, ARG_HOST, &name.length);
	return name;
}

/* The policy of the host, NULL when it has none. */
static inline const struct s2sp_policy *push_policy(lua_State *L) {
	if (s2sp_push(L, ARG_GUARD, S2SP_KEY_POLICIES) != LUA_TTABLE)
		return NULL;
	lua_pushvalue(L, ARG_HOST);
	lua_rawget(L, -2);
	return s2sp_lua_test_policy(L, -1);
}

/* Whether the local user may federate and, where a stanza comes in, has an account: `address` is a key of one of core's tables then. */
static bool user_is_known(lua_State *L, struct s2sp_lua_question *question, int address) {
	if (!s2sp_policy_external_access(question->policy, question->node) ||
	    !s2sp_lua_roles_deny_nobody(L, lua_upvalueindex(S2SP_UP_ROLES_SCANNED), ARG_HOST))
		return false;
	question->facts.access = S2SP_ACCESS_ALLOWED;
	if (question->facts.direction == S2SP_OUTGOING)
		return true;
	bool full = question->bare.length != question->local.length;
	int sessions = lua_upvalueindex(full ? S2SP_UP_FULL_SESSIONS : S2SP_UP_BARE_SESSIONS);
	if (!lua_istable(L, sessions))
		return false;
	lua_pushvalue(L, address);
	if (lua_rawget(L, sessions) != LUA_TTABLE)
		return false;
	question->facts.account = S2SP_ACCOUNT_EXISTS;
	return true;
}

/* The user's roster, and directed presence: to look there takes names that Lua may have to make first, so it may fail. */
static bool find_out(lua_State *L, struct s2sp_lua_question *question, enum s2sp_need need) {
	if (need != S2SP_NEED_LISTING && need != S2SP_NEED_DIRECTED)
		return false;
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_LOOK_UP));
	lua_pushlightuserdata(L, question);
	lua_pushvalue(L, ARG_GUARD);
	lua_pushinteger(L, (lua_Integer)need);
	lua_Integer value = lua_pcall(L, 3, 1, 0) == LUA_OK ? lua_tointeger(L, -1) : 0;
	lua_pop(L, 1);
	s2sp_fact_set(&question->facts, need, (int)value);
	return value != 0;
}

/* What core decides on, with the user's side known beforehand. WAIT: something has to be looked up. */
static struct s2sp_authorisation authorise(lua_State *L, struct s2sp_lua_question *question, enum s2sp_direction direction,
                                           const struct s2sp_partner *partner, int address) {
	struct s2sp_authorisation unknown = { .verdict = S2SP_VERDICT_WAIT };
	bool accounts = lua_toboolean(L, lua_upvalueindex(S2SP_UP_ACCOUNTS));
	if (!s2sp_lua_question_facts(L, question, direction, partner, accounts))
		return unknown;
	if (question->facts.local == S2SP_LOCAL_USER && !user_is_known(L, question, address))
		return unknown;
	struct s2sp_authorisation decision = s2sp_authorise(&question->facts);
	while (decision.verdict == S2SP_VERDICT_WAIT && find_out(L, question, decision.need))
		decision = s2sp_authorise(&question->facts);
	return decision;
}

bool s2sp_look_in(lua_State *L) {
	enum { ORIGIN = ARG_COUNT + 1, RECORD, STANZA, ATTR, FROM, TO };
	if (!lua_istable(L, ARG_EVENT) || s2sp_push(L, ARG_EVENT, S2SP_KEY_ORIGIN) != LUA_TTABLE)
		return false;
	s2sp_push(L, ORIGIN, S2SP_KEY_RECORD);
	const struct s2sp_stream *stream = s2sp_lua_stream_test(L, RECORD);
	if (stream == NULL) {
		/* A client's, to another local user. A destroyed session has no type of its own. */
		struct s2sp_text type = s2sp_push_text(L, ORIGIN, S2SP_KEY_TYPE);
		return type.length >= 3 && memcmp(type.bytes, "s2s", 3) != 0;
	}
	struct s2sp_text remote = s2sp_stream_remote(stream);
	struct s2sp_numbers *numbers = s2sp_stream_numbers(stream);
	if (stream->partner == NULL || numbers == NULL || remote.length == 0 ||
	    !s2sp_text_equal(host_name(L), s2sp_stream_local(stream)) ||
	    s2sp_push(L, ARG_EVENT, S2SP_KEY_STANZA) != LUA_TTABLE || s2sp_push(L, STANZA, S2SP_KEY_ATTR) != LUA_TTABLE)
		return false;
	struct s2sp_lua_question question = { .guard = ARG_GUARD, .host_value = ARG_HOST, .stanza = STANZA };
	question.contact = s2sp_push_text(L, ATTR, S2SP_KEY_FROM);
	if (!s2sp_text_equal(s2sp_jid_domain(question.contact), remote))
		return false;
	question.local = s2sp_push_text(L, ATTR, S2SP_KEY_TO);
	question.name = s2sp_push_text(L, STANZA, S2SP_KEY_NAME);
	question.type = s2sp_push_text(L, ATTR, S2SP_KEY_TYPE);
	if (s2sp_text_equal(question.name, S2SP_TEXT("iq")))
		question.id = s2sp_push_text(L, ATTR, S2SP_KEY_ID);
	question.policy = push_policy(L);
	if (question.policy == NULL || question.policy != stream->policy ||
	    s2sp_stream_stanza(stream, question.policy, remote).verdict != S2SP_VERDICT_ALLOW)
		return false;
	struct s2sp_authorisation decision = authorise(L, &question, S2SP_INCOMING, stream->partner, TO);
	if (decision.verdict != S2SP_VERDICT_ALLOW || decision.change != S2SP_REASON_NONE)
		return false;
	numbers->times[S2SP_INCOMING][S2SP_REASON_NONE]++;
	return true;
}

/* The stream core has for the route, as it has been noted: its remote domain is what its partner has been found by. */
static struct s2sp_stream *push_route(lua_State *L, int key, struct s2sp_text to_host) {
	int host = lua_upvalueindex(S2SP_UP_HOST_OBJECT);
	if (!lua_istable(L, host) || s2sp_push(L, host, S2SP_KEY_S2SOUT) != LUA_TTABLE)
		return NULL;
	int routes = lua_gettop(L);
	lua_pushvalue(L, key);
	if (lua_rawget(L, routes) != LUA_TTABLE)
		return NULL;
	s2sp_push(L, routes + 1, S2SP_KEY_RECORD);
	struct s2sp_stream *stream = s2sp_lua_stream_test(L, routes + 2);
	if (stream == NULL || stream->stage != S2SP_STAGE_ESTABLISHED || stream->verify_only || stream->partner == NULL ||
	    !s2sp_text_equal(s2sp_stream_remote(stream), to_host) || !s2sp_text_equal(s2sp_stream_local(stream), host_name(L)))
		return NULL;
	return stream;
}

static bool is_own_answer(lua_State *L, int stanza) {
	int answers = lua_upvalueindex(S2SP_UP_ANSWERS);
	if (!lua_istable(L, answers))
		return true;
	lua_pushvalue(L, stanza);
	bool own = lua_rawget(L, answers) != LUA_TNIL;
	lua_pop(L, 1); /* the look at an iq needs the slot */
	return own;
}

bool s2sp_look_out(lua_State *L) {
	enum { STANZA = ARG_COUNT + 1, ATTR, FROM, TO, TO_HOST };
	if (!lua_istable(L, ARG_EVENT) || s2sp_push(L, ARG_EVENT, S2SP_KEY_STANZA) != LUA_TTABLE ||
	    s2sp_push(L, STANZA, S2SP_KEY_ATTR) != LUA_TTABLE)
		return false;
	struct s2sp_lua_question question = { .guard = ARG_GUARD, .host_value = ARG_HOST, .stanza = STANZA };
	question.local = s2sp_push_text(L, ATTR, S2SP_KEY_FROM);
	question.contact = s2sp_push_text(L, ATTR, S2SP_KEY_TO);
	struct s2sp_text host = host_name(L), to_host = s2sp_push_text(L, ARG_EVENT, S2SP_KEY_TO_HOST);
	/* It goes by its own addresses, and is no keepalive, since there is somebody behind it. */
	struct s2sp_text local_domain = s2sp_jid_domain(question.local);
	if (to_host.length == 0 || local_domain.bytes == question.local.bytes || !s2sp_text_equal(local_domain, host) ||
	    !s2sp_text_equal(s2sp_push_text(L, ARG_EVENT, S2SP_KEY_FROM_HOST), host) ||
	    !s2sp_text_equal(s2sp_jid_domain(question.contact), to_host))
		return false;
	struct s2sp_stream *stream = push_route(L, TO_HOST, to_host);
	struct s2sp_numbers *numbers = stream == NULL ? NULL : s2sp_stream_numbers(stream);
	question.policy = push_policy(L);
	if (numbers == NULL || question.policy == NULL || question.policy != stream->policy)
		return false;
	question.name = s2sp_push_text(L, STANZA, S2SP_KEY_NAME);
	question.type = s2sp_push_text(L, ATTR, S2SP_KEY_TYPE);
	if (!s2sp_is_stanza_name(question.name) || is_own_answer(L, STANZA))
		return false;
	if (s2sp_text_equal(question.name, S2SP_TEXT("iq")))
		question.id = s2sp_push_text(L, ATTR, S2SP_KEY_ID);
	struct s2sp_authorisation decision = authorise(L, &question, S2SP_OUTGOING, stream->partner, FROM);
	if (decision.verdict != S2SP_VERDICT_ALLOW || s2sp_speaks_for_user(&question) || s2sp_to_remember(&question.facts) != NULL)
		return false;
	lua_settop(L, ATTR);
	bool may_have_note = decision.change == S2SP_REASON_STATUS_NOTE_REMOVED;
	enum s2sp_notes notes = may_have_note ? s2sp_lua_notes_kept(L, STANZA, ARG_GUARD) : S2SP_NOTES_NONE;
	if (notes == S2SP_NOTES_FOUND)
		return false;
	if (notes == S2SP_NOTES_KEPT)
		s2sp_raw_set(L, ARG_EVENT, S2SP_KEY_STANZA);
	numbers->times[S2SP_OUTGOING][notes == S2SP_NOTES_KEPT ? decision.change : S2SP_REASON_NONE]++;
	s2sp_stream_active(stream, s2sp_now());
	return true;
}
