/* For clock_gettime, which ISO C does not have. */
#define _POSIX_C_SOURCE 200809L

#include "places.h"

#include <time.h>

#include "handler.h"
#include "policy_object.h"
#include "refused_stanza.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

s2sp_milliseconds s2sp_now(void) {
	struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	return (s2sp_milliseconds)now.tv_sec * 1000 + (s2sp_milliseconds)now.tv_nsec / 1000000;
}

/* --- places --- */

/* Whose places a stream takes: the partner's; under the default policy each domain has its own. */
static struct s2sp_text account(const struct s2sp_policy *policy, const struct s2sp_partner *partner, struct s2sp_text remote) {
	return partner == s2sp_policy_default(policy) ? remote : partner->name;
}

static uint32_t count_at(lua_State *L, int table, struct s2sp_text key) {
	lua_pushlstring(L, key.bytes, key.length);
	lua_rawget(L, table);
	lua_Integer count = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return count < 0 ? 0 : count > (lua_Integer)UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* A count that is there, so that it changes without any memory: its key is at a stack index. */
struct reserved {
	int key;
	lua_Integer count;
};

/* Makes table[key] exist and pushes the key. */
static struct reserved reserve_count(lua_State *L, int table, struct s2sp_text key) {
	lua_pushlstring(L, key.bytes, key.length);
	struct reserved reserved = { lua_gettop(L), 0 };
	lua_pushvalue(L, reserved.key);
	if (lua_rawget(L, table) == LUA_TNUMBER) {
		reserved.count = lua_tointeger(L, -1);
	} else {
		lua_pushvalue(L, reserved.key);
		lua_pushinteger(L, 0);
		lua_rawset(L, table);
	}
	lua_settop(L, reserved.key);
	return reserved;
}

/* Entries at zero are removed: a table of counts is as large as there are streams. */
static void change_count(lua_State *L, int table, struct reserved reserved, int change) {
	lua_pushvalue(L, reserved.key);
	if (reserved.count + change > 0)
		lua_pushinteger(L, reserved.count + change);
	else
		lua_pushnil(L);
	lua_rawset(L, table);
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
	struct reserved total = reserve_count(L, places, total_key);
	struct reserved own = reserve_count(L, places + 1, key);
	change_count(L, places, total, change);
	change_count(L, places + 1, own, change);
	lua_settop(L, total.key - 1);
}

static struct s2sp_counts counts_of(lua_State *L, int places, struct s2sp_text key) {
	return (struct s2sp_counts){ count_at(L, places + 1, key), count_at(L, places, total_key) };
}

struct s2sp_decision s2sp_lua_place_ask(lua_State *L, int guard, const struct s2sp_policy *policy,
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

struct s2sp_decision s2sp_lua_place_for_stanza(lua_State *L, int guard, int record) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream does more than to verify keys" };
	if (!stream->verify_only || stream->stage == S2SP_STAGE_REFUSED || stream->partner == NULL)
		return decision;
	decision = s2sp_lua_place_ask(L, guard, stream->policy, stream->partner, s2sp_lua_stream_remote(L, record));
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

/* --- keys that a partner is asked about --- */

/* guard.questions[host] = { since = milliseconds, routes = { remote domain = count }, partners = { primary domain = count } } */
enum { QUESTIONS_ROUTES = 1, QUESTIONS_PARTNERS };

static void new_questions(lua_State *L, s2sp_milliseconds now) {
	lua_createtable(L, 0, 3);
	lua_pushinteger(L, (lua_Integer)now);
	lua_setfield(L, -2, "since");
	lua_newtable(L);
	lua_setfield(L, -2, "routes");
	lua_newtable(L);
	lua_setfield(L, -2, "partners");
}

/* Pushes the counts of the record's host, its routes, its partners: new ones where there are none or they are too old. Returns where they are. */
static int push_questions(lua_State *L, int guard, int record, const struct s2sp_stream *stream) {
	struct s2sp_text local = s2sp_lua_stream_local(L, record);
	s2sp_lua_field(L, guard, "questions");
	luaL_checktype(L, -1, LUA_TTABLE);
	int all = lua_gettop(L), own = all + 1;
	lua_pushlstring(L, local.bytes, local.length);
	lua_rawget(L, all);
	s2sp_milliseconds now = s2sp_now(), window = (s2sp_milliseconds)s2sp_policy_limits(stream->policy)->establishment_timeout * 1000;
	s2sp_lua_field(L, own, "since"); /* nil when there are none */
	bool good = lua_isinteger(L, -1) && now - (s2sp_milliseconds)lua_tointeger(L, -1) < window;
	lua_settop(L, own);
	if (!good) {
		lua_pop(L, 1);
		new_questions(L, now);
		lua_pushlstring(L, local.bytes, local.length);
		lua_pushvalue(L, own);
		lua_rawset(L, all);
	}
	s2sp_lua_field(L, own, "routes");
	luaL_checktype(L, -1, LUA_TTABLE);
	s2sp_lua_field(L, own, "partners");
	luaL_checktype(L, -1, LUA_TTABLE);
	return own;
}

/* Those whom only a default policy covers share one count: a stranger may be any number of them. */
static struct s2sp_text asked_partner(const struct s2sp_stream *stream) {
	return stream->partner == s2sp_policy_default(stream->policy) ? S2SP_TEXT("") : stream->partner->name;
}

/* Both or, when memory runs out, neither. */
static void change_questions(lua_State *L, int own, struct s2sp_text remote, struct s2sp_text partner, int change) {
	struct reserved route = reserve_count(L, own + QUESTIONS_ROUTES, remote);
	struct reserved all = reserve_count(L, own + QUESTIONS_PARTNERS, partner);
	change_count(L, own + QUESTIONS_ROUTES, route, change);
	change_count(L, own + QUESTIONS_PARTNERS, all, change);
}

struct s2sp_decision s2sp_lua_question_ask(lua_State *L, int guard, int record) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	if (stream->policy == NULL || stream->partner == NULL)
		return s2sp_no_record;
	int top = lua_gettop(L), own = push_questions(L, guard, record, stream);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record), partner = asked_partner(stream);
	struct s2sp_decision decision = s2sp_decide_question((struct s2sp_questions){
		.route = count_at(L, own + QUESTIONS_ROUTES, remote), .partner = count_at(L, own + QUESTIONS_PARTNERS, partner) });
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		change_questions(L, own, remote, partner, 1);
	lua_settop(L, top);
	return decision;
}

void s2sp_lua_question_answered(lua_State *L, int guard, int record) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	if (stream->policy == NULL || stream->partner == NULL)
		return;
	int top = lua_gettop(L), own = push_questions(L, guard, record, stream);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	/* An answer to what was counted before counts began anew, or that nobody has asked for, frees no other's place. */
	if (count_at(L, own + QUESTIONS_ROUTES, remote) > 0)
		change_questions(L, own, remote, asked_partner(stream), -1);
	lua_settop(L, top);
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

/* waiting_room(policy) -> how many incoming connections may be unauthenticated, how many of them from one address. */
static int waiting_room(lua_State *L) {
	struct s2sp_waiting_room room = s2sp_limits_waiting_room(s2sp_policy_limits(s2sp_lua_check_policy(L, 1)));
	lua_pushinteger(L, room.total);
	lua_pushinteger(L, room.address);
	return 2;
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
		decision = s2sp_lua_place_ask(L, ARG_GUARD, policy, partner, s2sp_domain_text(&domain));
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_lua_refuse_route(L, decision, 0);
}

/* --- times --- */

static bool is_bare_domain(struct s2sp_text jid) {
	return jid.length > 0 && memchr(jid.bytes, '@', jid.length) == NULL && memchr(jid.bytes, '/', jid.length) == NULL;
}

/* The namespace of the stanza's first child; empty when it has none. */
static struct s2sp_text first_child(lua_State *L, int stanza) {
	int top = lua_gettop(L);
	struct s2sp_text xmlns = { NULL, 0 };
	if (s2sp_lua_field(L, stanza, "tags") == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TTABLE) {
		s2sp_lua_field(L, -1, "attr");
		xmlns = s2sp_lua_text_field(L, -1, "xmlns");
		if (xmlns.length == 0)
			xmlns = S2SP_TEXT("?");
	}
	lua_settop(L, top);
	return xmlns;
}

/* A ping from server to server (XEP-0199 4.2), or what can be the answer to one. Nobody is behind either. */
static bool is_keepalive(lua_State *L, int stanza, int attr) {
	if (!s2sp_lua_field_is(L, stanza, "name", "iq"))
		return false;
	if (!is_bare_domain(s2sp_lua_text_field(L, attr, "from")) || !is_bare_domain(s2sp_lua_text_field(L, attr, "to")))
		return false;
	if (s2sp_lua_field_is(L, attr, "type", "error"))
		return true;
	struct s2sp_text child = first_child(L, stanza);
	return s2sp_text_equal(child, S2SP_TEXT("urn:xmpp:ping")) ||
	       (child.length == 0 && s2sp_lua_field_is(L, attr, "type", "result"));
}

void s2sp_lua_stanza_counts(lua_State *L, struct s2sp_stream *stream, int stanza, int attr) {
	if (!is_keepalive(L, stanza, attr))
		s2sp_stream_active(stream, s2sp_now());
}

/* The limits of the stream's own policy, or those of `policy` when it has none. NULL: there are none at all. */
static const struct s2sp_limits *limits_for(const struct s2sp_stream *stream, const struct s2sp_policy *policy) {
	if (stream->policy != NULL)
		return s2sp_policy_limits(stream->policy);
	return policy == NULL ? NULL : s2sp_policy_limits(policy);
}

struct s2sp_decision s2sp_lua_stream_due(lua_State *L, int guard, int record, const struct s2sp_policy *policy, bool *keepalive) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	const struct s2sp_limits *limits = limits_for(stream, policy);
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "there are no limits yet" };
	*keepalive = false;
	if (limits != NULL)
		decision = s2sp_stream_due(stream, limits, s2sp_now(), keepalive);
	/* One that was opened to verify a key takes its place when the peer has sent stanzas over it. */
	if (limits != NULL && decision.verdict == S2SP_VERDICT_ALLOW && stream->stage == S2SP_STAGE_ESTABLISHED)
		decision = s2sp_lua_place_hold(L, guard, record);
	return decision;
}

/* accepted(session, seconds): the connection was accepted so long before the session came to be (a TLS handshake first). */
static int accepted(lua_State *L) {
	lua_Number seconds = luaL_checknumber(L, 2);
	lua_settop(L, 2);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, 1);
	s2sp_milliseconds now = s2sp_now();
	if (stream != NULL && seconds > 0 && seconds * 1000 < (lua_Number)now)
		s2sp_stream_clock_start(stream, now - (s2sp_milliseconds)(seconds * 1000));
	return 0;
}

/* keepalive_sent(session, answer) */
static int keepalive_sent(lua_State *L) {
	bool answer = lua_toboolean(L, 2);
	lua_settop(L, 1);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, 1);
	if (stream != NULL)
		s2sp_stream_keepalive_sent(stream, s2sp_now(), answer);
	return 0;
}

/*
 * iq/host, before the stanza is judged: the answer to a ping of ours (guard.keepalives[id] is the stream it went over), which
 * may come over another stream of the same pair of domains, and goes no further.
 */
static int on_keepalive_answer(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "origin");
	int origin = lua_gettop(L);
	if (!s2sp_lua_is_s2s(L, origin))
		return 0;
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	s2sp_lua_field(L, -1, "attr");
	int attr = lua_gettop(L);
	if (!s2sp_lua_field_is(L, attr, "type", "result") && !s2sp_lua_field_is(L, attr, "type", "error"))
		return 0;
	if (!is_bare_domain(s2sp_lua_text_field(L, attr, "from")) || s2sp_lua_field(L, ARG_GUARD, "keepalives") != LUA_TTABLE)
		return 0;
	int keepalives = lua_gettop(L);
	s2sp_lua_field(L, attr, "id");
	if (lua_type(L, -1) != LUA_TSTRING)
		return 0;
	lua_pushvalue(L, -1);
	if (lua_rawget(L, keepalives) != LUA_TTABLE)
		return 0;
	int pinged = lua_gettop(L);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, pinged);
	struct s2sp_stream *over = s2sp_lua_stream_get(L, origin);
	if (stream == NULL || over == NULL || over->stage != S2SP_STAGE_ESTABLISHED)
		return 0;
	if (!s2sp_text_equal(s2sp_lua_stream_remote(L, pinged + 1), s2sp_lua_stream_remote(L, pinged + 2)) ||
	    !s2sp_text_equal(s2sp_lua_stream_local(L, pinged + 1), s2sp_lua_stream_local(L, pinged + 2)))
		return 0;
	s2sp_stream_keepalive_answered(stream);
	lua_pushvalue(L, keepalives + 1);
	lua_pushnil(L);
	lua_rawset(L, keepalives);
	lua_pushboolean(L, true);
	return 1;
}

static const struct s2sp_handler limit_handlers[] = {
	/* Between core's two: what found an existing stream (-1) has stopped there, the new one is opened at -10. */
	{ "route/remote", on_new_stream, -9, true, NULL },
	/* Before any stanza is judged (1000). */
	{ "iq/host", on_keepalive_answer, 1001, true, NULL },
};

void s2sp_limit_handlers_install(lua_State *L, int guard, int context, int host) {
	s2sp_handlers_install(L, limit_handlers, COUNT(limit_handlers), guard, context, host);
}

int s2sp_lua_open_limits(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "place_release", release },    { "waiting_room", waiting_room },     { "stream_accepted", accepted },
		{ "keepalive_sent", keepalive_sent }, { NULL, NULL },
	};
	luaL_newlib(L, functions);
	return 1;
}
