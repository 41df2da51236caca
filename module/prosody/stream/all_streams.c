/*
 * Passes over all live streams. There may be ten thousand, none of which a cache holds: each session and record is visited once, and
 * what a pass finds out goes to Lua only where something is to be done about it.
 */
#include "all_streams.h"

#include <limits.h>
#include <stdlib.h>

#include "crl_sets.h"
#include "handler.h"
#include "host_objects.h"
#include "policy_object.h"
#include "record.h"
#include "places.h"
#include "stream_times.h"

/* --- one pass, each stream for itself --- */

/* Stack of a pass. FOUND: list of { session, what, reason token, stream condition, rule, error }, which a step adds to. */
enum { PASS_GUARD = 1, PASS_STREAMS, PASS_FOUND, PASS_MORE, PASS_STATE, PASS_SESSION, PASS_RECORD };

struct pass {
	/* What is done with the session at PASS_SESSION, whose record (or nil) is at PASS_RECORD. May throw. */
	void (*step)(lua_State *L, struct pass *pass, struct s2sp_stream *stream);
	lua_Integer at, count;
	size_t held; /* streams that have a place */
	bool settled;
	bool harmless; /* an error refuses nobody */
	const struct s2sp_policy *policy;
	const struct s2sp_lua_crls *crls;
};

static int run(lua_State *L) {
	struct pass *pass = lua_touserdata(L, PASS_STATE);
	luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
	while (pass->at < pass->count) {
		lua_rawgeti(L, PASS_STREAMS, ++pass->at);
		pass->step(L, pass, s2sp_lua_stream_get(L, PASS_SESSION));
		lua_settop(L, PASS_STATE);
	}
	return 0;
}

/* Adds an entry to FOUND, about the session that is at stack index `session`. `what` and `rule` are static. */
static void add(lua_State *L, int found, int session, const char *what, enum s2sp_reason reason, const char *rule) {
	const struct s2sp_reason_row *row = s2sp_reason_row(reason);
	lua_createtable(L, 6, 0);
	lua_pushvalue(L, session);
	lua_rawseti(L, -2, 1);
	lua_pushstring(L, what);
	lua_rawseti(L, -2, 2);
	lua_pushstring(L, row->token);
	lua_rawseti(L, -2, 3);
	lua_pushstring(L, row->stream_condition);
	lua_rawseti(L, -2, 4);
	s2sp_lua_push_words(L, rule);
	lua_rawseti(L, -2, 5);
	lua_rawseti(L, found, (lua_Integer)lua_rawlen(L, found) + 1);
}

/* A stream that cannot be judged is refused; the error is on top, and goes. */
static void give_up(lua_State *L, const struct pass *pass) {
	static const char rule[] = "an error while the stream was looked at";
	int error = lua_gettop(L);
	lua_rawgeti(L, PASS_STREAMS, pass->at);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, error + 1);
	if (stream != NULL && !pass->harmless)
		s2sp_stream_refuse(stream, S2SP_REASON_INTERNAL_ERROR, rule);
	add(L, PASS_FOUND, error + 1, "refuse", S2SP_REASON_INTERNAL_ERROR, rule);
	lua_rawgeti(L, PASS_FOUND, (lua_Integer)lua_rawlen(L, PASS_FOUND));
	lua_pushvalue(L, error);
	lua_rawseti(L, -2, 6);
	lua_settop(L, error - 1);
}

/*
 * Takes (guard, streams, ...); leaves two lists, PASS_FOUND and PASS_MORE. An error about one stream refuses that stream. An error is thrown on
 * only when not even that is possible.
 */
static void pass_over(lua_State *L, struct pass *pass) {
	luaL_checktype(L, PASS_GUARD, LUA_TTABLE);
	luaL_checktype(L, PASS_STREAMS, LUA_TTABLE);
	lua_settop(L, PASS_STREAMS);
	lua_newtable(L);
	lua_newtable(L);
	pass->count = (lua_Integer)lua_rawlen(L, PASS_STREAMS);
	for (lua_Integer begun = -1;; begun = pass->at) {
		lua_pushcfunction(L, run);
		for (int i = PASS_GUARD; i < PASS_STATE; i++)
			lua_pushvalue(L, i);
		lua_pushlightuserdata(L, pass);
		if (lua_pcall(L, PASS_STATE, 0, 0) == LUA_OK)
			return;
		pass->settled = false;
		if (pass->at == begun || pass->at == 0)
			lua_error(L); /* not the stream's */
		give_up(L, pass);
	}
}

/* --- a commit --- */

/* Core keeps a stream that is no more until its connection is closed, without anything of ours. */
static bool is_destroyed(lua_State *L) {
	s2sp_lua_field(L, PASS_SESSION, "destroyed");
	return lua_toboolean(L, -1);
}

static const char opened_unguarded[] = "opened while mod_s2s_partners was not guarding";

static void rejudge_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	if (stream == NULL) {
		if (is_destroyed(L))
			return;
		add(L, PASS_FOUND, PASS_SESSION, "refuse", S2SP_REASON_POLICY_CHANGED, opened_unguarded);
	} else {
		struct s2sp_decision decision = s2sp_lua_stream_rejudge(L, PASS_SESSION, PASS_RECORD, PASS_GUARD);
		if (decision.verdict == S2SP_VERDICT_REFUSE)
			add(L, PASS_FOUND, PASS_SESSION, "refuse", decision.reason, decision.rule);
		pass->held += stream->counted;
		pass->settled = pass->settled && s2sp_lua_place_stays(L, PASS_RECORD);
	}
	if ((stream == NULL || stream->direction == S2SP_OUTGOING) && s2sp_lua_field(L, PASS_SESSION, "sendq") != LUA_TNIL) {
		if (stream != NULL)
			stream->queued = 0; /* it is taken out, and what may stay is routed again */
		lua_pushvalue(L, PASS_SESSION);
		lua_rawseti(L, PASS_MORE, (lua_Integer)lua_rawlen(L, PASS_MORE) + 1);
	}
}

/* Whether under every policy in force so many streams can all keep their places. */
static bool suffice(lua_State *L, struct s2sp_counts counts) {
	bool enough = true;
	if (s2sp_lua_field(L, PASS_GUARD, "policies") != LUA_TTABLE)
		return false;
	for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
		const struct s2sp_policy *policy = s2sp_lua_test_policy(L, -1);
		enough = enough && policy != NULL && s2sp_limits_suffice(policy, counts);
	}
	lua_pop(L, 1);
	return enough;
}

/*
 * rejudge(guard, streams) -> found, queued, settled: judges the streams under the policies that their hosts have now. `found` has an entry
 * for each that is to be closed; `queued` are those that something waits for. Unless `settled`, places have to be counted anew: there may
 * be fewer than streams, or a stream has come to count for another partner.
 */
static int rejudge(lua_State *L) {
	struct pass pass = { .step = rejudge_one, .settled = true };
	struct s2sp_counts counts;
	pass_over(L, &pass);
	bool settled = s2sp_lua_places_agree(L, PASS_GUARD, pass.held, &counts) && pass.settled && suffice(L, counts);
	lua_settop(L, PASS_MORE);
	lua_pushboolean(L, settled);
	return 3;
}

static void take_up_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	if (stream == NULL || !s2sp_lua_stream_new_crls(L, PASS_RECORD, pass->crls))
		return;
	struct s2sp_decision decision = s2sp_lua_stream_rejudge(L, PASS_SESSION, PASS_RECORD, PASS_GUARD);
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		add(L, PASS_FOUND, PASS_SESSION, "refuse", decision.reason, decision.rule);
}

static int take_up_all(lua_State *L) {
	struct pass *pass = lua_touserdata(L, 3);
	pass_over(L, pass);
	lua_settop(L, PASS_FOUND);
	return 1;
}

/*
 * take_up_crls(guard, streams, set) -> found: guard.trust.crls is made of new lists now, and `set` has those that were not there before. As
 * rejudge for the streams with a certificate that one of them mentions; the others are only looked at.
 */
static int take_up_crls(lua_State *L) {
	lua_settop(L, 3);
	struct pass pass = { .step = take_up_one, .crls = s2sp_lua_test_crls(L, 3) };
	luaL_argcheck(L, pass.crls != NULL, 3, "must be a set of revocation lists");
	/* A call of its own: the set, which nobody else may have, stays on this stack for as long as the pass takes. */
	lua_pushcfunction(L, take_up_all);
	lua_pushvalue(L, PASS_GUARD);
	lua_pushvalue(L, PASS_STREAMS);
	lua_pushlightuserdata(L, &pass);
	lua_call(L, 3, 1);
	return 1;
}

/* A stream in the order in which streams get places, and where it stands in the list. */
struct queued {
	uint64_t since;
	lua_Integer at;
};

static int compare_queued(const void *a, const void *b) {
	const struct queued *one = a, *other = b;
	if (one->since != other->since)
		return one->since < other->since ? -1 : 1;
	return one->at < other->at ? -1 : one->at > other->at;
}

/* Replaces the list at PASS_STREAMS, on top, by one in which established streams come before others, and older ones before younger. */
static void put_in_order(lua_State *L) {
	size_t count = lua_rawlen(L, PASS_STREAMS);
	struct queued *queue = lua_newuserdatauv(L, count * sizeof *queue, 0);
	int top = lua_gettop(L);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, PASS_STREAMS, (lua_Integer)i + 1);
		const struct s2sp_stream *stream = s2sp_lua_stream_get(L, top + 1);
		queue[i].at = (lua_Integer)i + 1;
		queue[i].since = stream == NULL ? 0 : stream->created;
		if (stream != NULL && stream->stage < S2SP_STAGE_ESTABLISHED)
			queue[i].since += UINT64_C(1) << 52;
		lua_settop(L, top);
	}
	if (count > 0)
		qsort(queue, count, sizeof *queue, compare_queued);
	lua_createtable(L, count > INT_MAX ? 0 : (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, PASS_STREAMS, queue[i].at);
		lua_rawseti(L, top + 1, (lua_Integer)i + 1);
	}
	lua_replace(L, PASS_STREAMS);
	lua_settop(L, PASS_STREAMS);
}

static void recount_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	(void)pass;
	if (stream == NULL)
		return;
	stream->counted = false; /* what it had was in the old count */
	struct s2sp_decision decision = s2sp_lua_place_hold(L, PASS_GUARD, PASS_RECORD);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return;
	s2sp_stream_refuse(stream, S2SP_REASON_POLICY_CHANGED, decision.rule);
	add(L, PASS_FOUND, PASS_SESSION, "refuse", S2SP_REASON_POLICY_CHANGED, decision.rule);
}

/* recount(guard, streams) -> found: gives the streams places in a guard.places that begins anew, as rejudge for those that get none. */
static int recount(lua_State *L) {
	struct pass pass = { .step = recount_one };
	luaL_checktype(L, PASS_STREAMS, LUA_TTABLE);
	lua_settop(L, PASS_STREAMS);
	put_in_order(L);
	pass_over(L, &pass);
	lua_settop(L, PASS_FOUND);
	return 1;
}

static void foresee_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	struct s2sp_decision decision = { S2SP_VERDICT_REFUSE, S2SP_REASON_POLICY_CHANGED, opened_unguarded };
	(void)pass;
	if (stream == NULL && is_destroyed(L))
		return;
	if (stream != NULL) {
		struct s2sp_stream *copy = s2sp_lua_stream_copy(L, PASS_RECORD);
		decision = s2sp_lua_stream_rejudge(L, PASS_SESSION, lua_gettop(L), PASS_GUARD);
		if (decision.verdict != S2SP_VERDICT_REFUSE) {
			decision = s2sp_lua_place_foresee(L, PASS_GUARD, PASS_RECORD, copy);
			if (decision.verdict == S2SP_VERDICT_REFUSE)
				decision.reason = S2SP_REASON_POLICY_CHANGED; /* as recount has it */
		}
	}
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		add(L, PASS_FOUND, PASS_SESSION, "refuse", decision.reason, decision.rule);
}

/*
 * foresee(next, streams) -> found: what rejudge and recount would find if `next` were in force: a table with `policies`, `trust` and `observing` as the
 * guard's, and `places` = { total = 0, partners = {} }. Nothing changes but those places.
 */
static int foresee(lua_State *L) {
	struct pass pass = { .step = foresee_one, .harmless = true };
	luaL_checktype(L, PASS_STREAMS, LUA_TTABLE);
	lua_settop(L, PASS_STREAMS);
	put_in_order(L);
	pass_over(L, &pass);
	lua_settop(L, PASS_FOUND);
	return 1;
}

/* --- now and then --- */

/*
 * Core enters an outgoing session as the route before it does anything else for the session. After an error on the way the session stays there,
 * without a record and without a connection, and core never ends it. All that is sent to that domain waits in its queue.
 */
static bool is_stranded(lua_State *L) {
	if (!s2sp_lua_field_is(L, PASS_SESSION, "direction", "outgoing"))
		return false;
	s2sp_lua_field(L, PASS_SESSION, "conn");
	return lua_isnil(L, -1) && !is_destroyed(L);
}

static void look_at_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	if (stream == NULL) {
		if (is_stranded(L))
			add(L, PASS_FOUND, PASS_SESSION, "refuse", S2SP_REASON_INTERNAL_ERROR, "the host gave up while it opened the stream");
		return;
	}
	if (stream->stage == S2SP_STAGE_REFUSED && s2sp_lua_observing(L, PASS_GUARD)) {
		pass->held += stream->counted;
		return; /* its time was over when it was refused */
	}
	bool keepalive;
	struct s2sp_decision decision = s2sp_lua_stream_due(L, PASS_GUARD, PASS_RECORD, pass->policy, &keepalive);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		add(L, PASS_FOUND, PASS_SESSION, "refuse", decision.reason, decision.rule);
	else if (keepalive)
		add(L, PASS_FOUND, PASS_SESSION, "keepalive", S2SP_REASON_NONE, decision.rule);
	pass->held += stream->counted;
}

/*
 * sweep(guard, streams, policy) -> found, agree. `found` has an entry for each stream that is to be closed ("refuse") or pinged ("keepalive").
 * The times of `policy` (or nil) hold for a stream that has not named its host; the caller keeps it meanwhile. When `agree` is false,
 * guard.places no longer agrees with the streams, and the caller counts them anew with count_held.
 */
static int sweep(lua_State *L) {
	lua_settop(L, 3);
	struct pass pass = { .step = look_at_one, .policy = s2sp_lua_test_policy(L, 3) };
	struct s2sp_counts counts;
	pass_over(L, &pass);
	bool agree = s2sp_lua_places_agree(L, PASS_GUARD, pass.held, &counts);
	lua_settop(L, PASS_FOUND);
	lua_pushboolean(L, agree);
	return 2;
}

static void count_one(lua_State *L, struct pass *pass, struct s2sp_stream *stream) {
	(void)pass;
	if (stream != NULL && stream->counted)
		s2sp_lua_place_count(L, PASS_GUARD, PASS_RECORD);
}

/* count_held(guard, streams) -> found: the places that streams have, into a guard.places that begins anew. */
static int count_held(lua_State *L) {
	struct pass pass = { .step = count_one };
	pass_over(L, &pass);
	lua_settop(L, PASS_FOUND);
	return 1;
}

int s2sp_lua_open_streams(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "rejudge", rejudge }, { "take_up_crls", take_up_crls }, { "recount", recount }, { "foresee", foresee },
		{ "sweep", sweep },     { "count_held", count_held },     { NULL, NULL },
	};
	luaL_newlib(L, functions);
	return 1;
}
