/*
 * Whether a stanza passes with nothing to be done but to count it, as nearly every stanza does. on_stanza_in and on_route
 * (stanzas.c) ask the same of the same decisions in core, at several times the price: what is not known here is for them. Each call
 * of the Lua API counts, so what is read stays on the stack until the handler clears it; all of it is within the LUA_MINSTACK
 * slots that there are without asking, which would make the stack grow anew for each stanza.
 */
#include "fast_path.h"

#include "host_objects.h"
#include "question.h"
#include "counters.h"
#include "policy_object.h"
#include "routed.h"
#include "stream_times.h"

/* Whether the stream has been judged by the policy that its host has now, and stands. Pushes two values. */
static inline bool stands(lua_State *L, const struct s2sp_stream *stream) {
	if (stream->stage != S2SP_STAGE_ESTABLISHED || stream->partner == NULL || stream->policy == NULL ||
		s2sp_push(L, lua_upvalueindex(S2SP_UP_GUARD), S2SP_KEY_POLICIES) != LUA_TTABLE)
		return false;
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_HOST));
	lua_rawget(L, -2);
	return s2sp_lua_test_policy(L, -1) == stream->policy;
}

/*
 * Roles are asked for when what was last read of them holds no more. With the function of that name of question.c, which reads the guard each
 * time, a message costs 484 instructions more in and 346 more out (of 3166 and 3362 that are the module's; 204 and 200 where there are no roles).
 */
static inline bool roles_deny_nobody(lua_State *L, struct s2sp_here *here) {
	if (!here->roles || s2sp_roles_scan_holds(here->roles_scanned))
		return true;
	here->roles_scanned = s2sp_lua_roles_scanned(L, lua_upvalueindex(S2SP_UP_ROLES_SCANNED), lua_upvalueindex(S2SP_UP_HOST));
	return s2sp_roles_scan_holds(here->roles_scanned);
}

/* Whether the local user may federate and, where a stanza comes in, has an account: `address` is a key of one of core's tables then. */
static bool user_is_known(lua_State *L, struct s2sp_here *here, struct s2sp_lua_question *question, int address) {
	if (!s2sp_policy_external_access(question->policy, question->partner, question->parts.node) || !roles_deny_nobody(L, here))
		return false;
	question->facts.access = S2SP_ACCESS_ALLOWED;
	if (question->facts.direction == S2SP_OUTGOING)
		return true;
	bool full = question->parts.bare.length != question->local.length;
	lua_pushvalue(L, address);
	/* A relay host's users are on another server, and are all taken to exist: lua/inside/boundary marks the host, and facts.account says the same. */
	if (lua_rawget(L, lua_upvalueindex(full ? S2SP_UP_FULL_SESSIONS : S2SP_UP_BARE_SESSIONS)) != LUA_TTABLE &&
		(question->parts.node.length == 0 ||
		 s2sp_push(L, lua_upvalueindex(S2SP_UP_HOST_OBJECT), S2SP_KEY_RELAY) != LUA_TBOOLEAN || !lua_toboolean(L, -1)))
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
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_GUARD));
	lua_pushinteger(L, (lua_Integer)need);
	lua_Integer value = lua_pcall(L, 3, 1, 0) == LUA_OK ? lua_tointeger(L, -1) : 0;
	lua_pop(L, 1);
	s2sp_fact_set(&question->facts, need, (int)value);
	return value != 0;
}

/* s2sp_authorise, or what it said last when it was told the same. Facts are compared as bytes: all of them have been set to zero before. */
static struct s2sp_authorisation decide(struct s2sp_told *told, const struct s2sp_stanza_facts *facts) {
	if (!told->decided || memcmp(&told->facts, facts, sizeof *facts) != 0) {
		told->decision = s2sp_authorise(facts);
		memcpy(&told->facts, facts, sizeof *facts);
		told->decided = true;
	}
	return told->decision;
}

/* What core decides on, with the user's side known beforehand. WAIT: something has to be looked up. */
static struct s2sp_authorisation authorise(lua_State *L, struct s2sp_here *here, struct s2sp_lua_question *question,
										   enum s2sp_direction direction, const struct s2sp_partner *partner, int address) {
	struct s2sp_authorisation unknown = { .verdict = S2SP_VERDICT_WAIT };
	if (!s2sp_lua_question_facts(L, question, direction, partner, here->accounts, &here->told))
		return unknown;
	if (question->facts.local == S2SP_LOCAL_USER && !user_is_known(L, here, question, address))
		return unknown;
	struct s2sp_authorisation decision = decide(&here->told, &question->facts);
	while (decision.verdict == S2SP_VERDICT_WAIT && find_out(L, question, decision.need))
		decision = decide(&here->told, &question->facts);
	return decision;
}

/* What else the question needs of the stanza, whose addresses are known. Pushes up to three values. */
static inline void push_rest(lua_State *L, struct s2sp_lua_question *question, const struct s2sp_policy *policy, int stanza,
							 int attr) {
	question->policy = policy;
	question->guard = lua_upvalueindex(S2SP_UP_GUARD);
	question->host_value = lua_upvalueindex(S2SP_UP_HOST);
	question->stanza = stanza;
	question->name = s2sp_push_text(L, stanza, S2SP_KEY_NAME);
	question->type = s2sp_push_text(L, attr, S2SP_KEY_TYPE);
	bool iq = s2sp_text_equal(question->name, S2SP_TEXT("iq"));
	question->id = iq ? s2sp_push_text(L, attr, S2SP_KEY_ID) : (struct s2sp_text){ NULL, 0 };
}

bool s2sp_fast_path_in(lua_State *L, struct s2sp_here *here) {
	enum { ORIGIN = ARG_EVENT + 1, RECORD, STANZA, ATTR, FROM, TO };
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
	if (numbers == NULL || remote.length == 0 || !s2sp_text_same(here->host, s2sp_stream_local(stream)) ||
		s2sp_push(L, ARG_EVENT, S2SP_KEY_STANZA) != LUA_TTABLE || s2sp_push(L, STANZA, S2SP_KEY_ATTR) != LUA_TTABLE)
		return false;
	struct s2sp_lua_question question;
	question.contact = s2sp_push_text(L, ATTR, S2SP_KEY_FROM);
	if (!s2sp_text_equal(s2sp_jid_split(question.contact).domain, remote))
		return false;
	question.local = s2sp_push_text(L, ATTR, S2SP_KEY_TO);
	question.parts = s2sp_jid_split(question.local);
	push_rest(L, &question, stream->policy, STANZA, ATTR);
	if (!stands(L, stream))
		return false;
	struct s2sp_authorisation decision = authorise(L, here, &question, S2SP_INCOMING, stream->partner, TO);
	if (decision.verdict != S2SP_VERDICT_ALLOW || decision.change != S2SP_REASON_NONE)
		return false;
	numbers->times[S2SP_INCOMING][S2SP_REASON_NONE]++;
	return true;
}

/* Stack of the look at what goes out. */
enum { OUT_STANZA = ARG_EVENT + 1, OUT_ATTR, OUT_FROM, OUT_TO, OUT_TO_HOST, OUT_FROM_HOST, OUT_ROUTES, OUT_ROUTE, OUT_RECORD };

/* The stream core has for the route, as it has been noted: its remote domain is what its partner has been found by. */
static struct s2sp_stream *noted_route(lua_State *L, const struct s2sp_here *here, struct s2sp_text to_host) {
	struct s2sp_stream *stream = s2sp_push_route(L, lua_upvalueindex(S2SP_UP_HOST_OBJECT), OUT_TO_HOST);
	if (stream == NULL || stream->verify_only || !s2sp_text_same(s2sp_stream_remote(stream), to_host) ||
		!s2sp_text_same(s2sp_stream_local(stream), here->host))
		return NULL;
	return stream;
}

/* Such an answer is not counted. It is an error or unavailable presence, so of what goes out most need not be looked for. */
static bool may_be_own_answer(enum s2sp_stanza_kind kind) {
	return kind != S2SP_STANZA_MESSAGE && kind != S2SP_STANZA_PRESENCE;
}

bool s2sp_fast_path_out(lua_State *L, struct s2sp_here *here) {
	if (!lua_istable(L, ARG_EVENT) || s2sp_push(L, ARG_EVENT, S2SP_KEY_STANZA) != LUA_TTABLE ||
		s2sp_push(L, OUT_STANZA, S2SP_KEY_ATTR) != LUA_TTABLE)
		return false;
	struct s2sp_lua_question question;
	question.local = s2sp_push_text(L, OUT_ATTR, S2SP_KEY_FROM);
	question.parts = s2sp_jid_split(question.local);
	question.contact = s2sp_push_text(L, OUT_ATTR, S2SP_KEY_TO);
	struct s2sp_text to_host = s2sp_push_text(L, ARG_EVENT, S2SP_KEY_TO_HOST);
	/* It goes by its own addresses, and is no keepalive, since there is somebody behind it. */
	if (to_host.length == 0 || question.parts.node.bytes == NULL || !s2sp_text_equal(question.parts.domain, here->host) ||
		!s2sp_text_same(s2sp_push_text(L, ARG_EVENT, S2SP_KEY_FROM_HOST), here->host) ||
		!s2sp_text_equal(s2sp_jid_split(question.contact).domain, to_host))
		return false;
	struct s2sp_stream *stream = noted_route(L, here, to_host);
	struct s2sp_numbers *numbers = stream == NULL ? NULL : s2sp_stream_numbers(stream);
	if (numbers == NULL || !stands(L, stream))
		return false;
	push_rest(L, &question, stream->policy, OUT_STANZA, OUT_ATTR);
	struct s2sp_authorisation decision = authorise(L, here, &question, S2SP_OUTGOING, stream->partner, OUT_FROM);
	if (decision.verdict != S2SP_VERDICT_ALLOW || s2sp_may_bounce(&question) || s2sp_speaks_for_user(&question) ||
		s2sp_to_remember(&question.facts) != NULL ||
		(may_be_own_answer(question.facts.kind) && s2sp_is_own_answer(L, lua_upvalueindex(S2SP_UP_ANSWERS), OUT_STANZA)))
		return false;
	if (!decision.personal_events)
		lua_settop(L, OUT_ATTR);
	if (!decision.personal_events && s2sp_lua_events(L, &question) != S2SP_EVENTS_NONE)
		return false;
	enum s2sp_notes notes = S2SP_NOTES_NONE;
	if (decision.change == S2SP_REASON_STATUS_NOTE_REMOVED) {
		lua_settop(L, OUT_ATTR);
		notes = s2sp_lua_notes_kept(L, OUT_STANZA, lua_upvalueindex(S2SP_UP_GUARD));
		if (notes == S2SP_NOTES_FOUND)
			return false;
		if (notes == S2SP_NOTES_KEPT)
			s2sp_host_raw_set(L, lua_upvalueindex(S2SP_UP_GUARD), ARG_EVENT, S2SP_KEY_STANZA);
	}
	numbers->times[S2SP_OUTGOING][notes == S2SP_NOTES_KEPT ? decision.change : S2SP_REASON_NONE]++;
	s2sp_stream_active(stream, s2sp_now());
	return true;
}
