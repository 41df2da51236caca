#include "places.h"

#include "count_table.h"
#include "handler.h"
#include "policy_object.h"
#include "refused_stanza.h"

/* Whose places a stream takes: the partner's; under the default policy each domain has its own. */
static struct s2sp_text account(const struct s2sp_policy *policy, const struct s2sp_partner *partner, struct s2sp_text remote) {
	return partner == s2sp_policy_default(policy) ? remote : partner->name;
}

/* Pushes guard.places and its table of partners. */
static int push_places(lua_State *L, int guard) {
	s2sp_lua_field(L, guard, "places");
	luaL_checktype(L, -1, LUA_TTABLE);
	int places = lua_gettop(L);
	s2sp_lua_field(L, places, "partners");
	luaL_checktype(L, -1, LUA_TTABLE);
	return places;
}

static const struct s2sp_text total_key = S2SP_TEXT("total");

/* Both counts or, when memory runs out, neither. guard.places and its partners are at `places` and behind. */
static void change_counts(lua_State *L, int places, struct s2sp_text key, int change) {
	struct s2sp_reserved_count total = s2sp_lua_reserve_count(L, places, total_key);
	struct s2sp_reserved_count own = s2sp_lua_reserve_count(L, places + 1, key);
	s2sp_lua_change_count(L, places, total, change);
	s2sp_lua_change_count(L, places + 1, own, change);
	lua_settop(L, total.key - 1);
}

static struct s2sp_counts counts_of(lua_State *L, int places, struct s2sp_text key) {
	return (struct s2sp_counts){ s2sp_lua_count_at(L, places + 1, key), s2sp_lua_count_at(L, places, total_key) };
}

/* Whether a stream to `remote`, of `partner`, could have a place now. Counts nothing. May throw. */
static struct s2sp_decision ask_place(lua_State *L, int guard, const struct s2sp_policy *policy,
									  const struct s2sp_partner *partner, struct s2sp_text remote) {
	int places = push_places(L, guard);
	struct s2sp_decision decision = s2sp_decide_place(policy, partner, counts_of(L, places, account(policy, partner, remote)));
	lua_settop(L, places - 1);
	return decision;
}

struct s2sp_decision s2sp_lua_place_hold(lua_State *L, int guard, int record) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream takes no place" };
	enum s2sp_place place = stream->counted ? S2SP_PLACE_NONE : s2sp_stream_place(stream);
	if (place == S2SP_PLACE_NONE)
		return decision;
	record = lua_absindex(L, record);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	struct s2sp_text key = account(stream->policy, stream->partner, remote);
	int places = push_places(L, guard);
	decision = s2sp_decide_place(stream->policy, stream->partner, counts_of(L, places, key));
	if (decision.verdict != S2SP_VERDICT_ALLOW) {
		decision = s2sp_stream_refuse(stream, decision.reason, decision.rule);
	} else if (place == S2SP_PLACE_TAKES) {
		s2sp_lua_stream_set_account(L, record, key);
		change_counts(L, places, key, 1);
		stream->counted = true;
	}
	lua_settop(L, places - 1);
	return decision;
}

struct s2sp_decision s2sp_lua_place_foresee(lua_State *L, int next, int record, const struct s2sp_stream *view) {
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream takes no place" };
	enum s2sp_place place = s2sp_stream_place(view);
	if (place == S2SP_PLACE_NONE)
		return decision;
	struct s2sp_text key = account(view->policy, view->partner, s2sp_lua_stream_remote(L, record));
	int places = push_places(L, next);
	decision = s2sp_decide_place(view->policy, view->partner, counts_of(L, places, key));
	if (decision.verdict == S2SP_VERDICT_ALLOW && place == S2SP_PLACE_TAKES)
		change_counts(L, places, key, 1);
	lua_settop(L, places - 1);
	return decision;
}

struct s2sp_decision s2sp_lua_place_for_stanza(lua_State *L, int guard, int record) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream does more than to verify keys" };
	if (!stream->verify_only || stream->stage == S2SP_STAGE_REFUSED || stream->partner == NULL)
		return decision;
	decision = ask_place(L, guard, stream->policy, stream->partner, s2sp_lua_stream_remote(L, record));
	if (decision.verdict == S2SP_VERDICT_ALLOW) {
		stream->verify_only = false;
		s2sp_lua_place_hold(L, guard, record);
	}
	return decision;
}

bool s2sp_lua_place_stays(lua_State *L, int record) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	if (s2sp_stream_place(stream) != S2SP_PLACE_TAKES)
		return !stream->counted;
	struct s2sp_text key = account(stream->policy, stream->partner, s2sp_lua_stream_remote(L, record));
	return stream->counted && s2sp_text_equal(key, s2sp_lua_stream_account(L, record));
}

void s2sp_lua_place_count(lua_State *L, int guard, int record) {
	struct s2sp_text key = s2sp_lua_stream_account(L, record);
	change_counts(L, push_places(L, guard), key, 1);
	lua_pop(L, 2);
}

bool s2sp_lua_places_agree(lua_State *L, int guard, size_t held, struct s2sp_counts *counts) {
	int places = push_places(L, guard);
	s2sp_lua_field(L, places, "total");
	lua_Integer most = 0, sum = 0, total = lua_tointeger(L, -1); /* nil when there is none: 0 */
	lua_settop(L, places + 1);
	for (lua_pushnil(L); lua_next(L, places + 1) != 0; lua_pop(L, 1)) {
		lua_Integer count = lua_tointeger(L, -1);
		sum += count;
		if (count > most)
			most = count;
	}
	lua_settop(L, places - 1);
	*counts = (struct s2sp_counts){ (uint32_t)most, (uint32_t)total };
	return total >= 0 && total <= (lua_Integer)UINT32_MAX && (lua_Integer)held == total && sum == total;
}

/* release(guard, session): the stream's place is free. */
static int release(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, 2);
	if (stream == NULL || !stream->counted)
		return 0;
	change_counts(L, push_places(L, 1), s2sp_lua_stream_account(L, 3), -1);
	stream->counted = false;
	return 0;
}

static uint32_t count_argument(lua_State *L, int index) {
	lua_Integer count = luaL_checkinteger(L, index);
	return count < 0 ? 0 : count > (lua_Integer)UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* waiting_room(policy or nil) -> how many incoming connections may be unauthenticated, how many of them from one address. */
static int waiting_room(lua_State *L) {
	struct s2sp_waiting_room room = { S2SP_WAITING_DEFAULT, S2SP_WAITING_ADDRESS_DEFAULT };
	if (!lua_isnoneornil(L, 1))
		room = s2sp_limits_waiting_room(s2sp_policy_limits(s2sp_lua_check_policy(L, 1)));
	lua_pushinteger(L, room.total);
	lua_pushinteger(L, room.address);
	return 2;
}

/*
 * waiting_crowded(total, address, waiting, waiting from the address of the last) -> "address" or "everybody", of whom the oldest has to go; nil:
 * nobody has to. The first two are waiting_room's.
 */
static int waiting_crowded(lua_State *L) {
	struct s2sp_waiting_room room = { count_argument(L, 1), count_argument(L, 2) },
							 waiting = { count_argument(L, 3), count_argument(L, 4) };
	switch (s2sp_waiting_crowded(room, waiting)) {
	case S2SP_CROWDED_NOT: lua_pushnil(L); break;
	case S2SP_CROWDED_ADDRESS: lua_pushliteral(L, "address"); break;
	case S2SP_CROWDED_EVERYBODY: lua_pushliteral(L, "everybody"); break;
	}
	return 1;
}

/* waiting_due(policy or nil, seconds) -> whether a connection without a stream has waited too long. */
static int waiting_due(lua_State *L) {
	const struct s2sp_policy *policy = lua_isnil(L, 1) ? NULL : s2sp_lua_check_policy(L, 1);
	lua_Number seconds = luaL_checknumber(L, 2);
	/* What is beyond any clock has waited too long as well. */
	s2sp_milliseconds waited = !(seconds < 1e9) ? UINT64_MAX : seconds > 0 ? (s2sp_milliseconds)(seconds * 1000) : 0;
	lua_pushboolean(L, s2sp_waiting_due(policy == NULL ? NULL : s2sp_policy_limits(policy), waited));
	return 1;
}

/* The last moment before core opens a new stream: nothing has been looked up yet. */
static int on_new_stream(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	if (s2sp_lua_field_is(L, -1, "name", "db:verify"))
		return 0; /* s2sout-created, which comes next, sees what it is opened for */
	struct s2sp_domain domain;
	s2sp_lua_domain(s2sp_lua_text_field(L, ARG_EVENT, "to_host"), &domain);
	s2sp_lua_field(L, ARG_GUARD, "policies");
	lua_pushvalue(L, ARG_HOST);
	lua_rawget(L, -2);
	const struct s2sp_policy *policy = s2sp_lua_test_policy(L, -1);
	const struct s2sp_partner *partner;
	struct s2sp_decision decision = s2sp_decide_route(policy, s2sp_domain_text(&domain), false, &partner);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = ask_place(L, ARG_GUARD, policy, partner, s2sp_domain_text(&domain));
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_lua_refuse_route(L, decision, 0);
}

static const struct s2sp_handler limit_handlers[] = {
	/* Between core's two: what found an existing stream (-1) has stopped there, the new one is opened at -10. */
	{ "route/remote", on_new_stream, -9, true, NULL },
};

void s2sp_limit_handlers_install(lua_State *L, int guard, int context, int host) {
	s2sp_handlers_install(L, limit_handlers, sizeof(limit_handlers) / sizeof(limit_handlers[0]), guard, context, host);
}

int s2sp_lua_open_limits(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "place_release", release },
		{ "waiting_room", waiting_room },
		{ "waiting_crowded", waiting_crowded },
		{ "waiting_due", waiting_due },
		{ NULL, NULL },
	};
	luaL_newlib(L, functions);
	return 1;
}
