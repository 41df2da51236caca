/* Keys that partners are being asked about. */
#include "key_questions.h"

#include "count_table.h"
#include "handler.h"
#include "policy_object.h"
#include "stream_times.h"

/* guard.questions[host] = { since = milliseconds, routes = { remote domain = count }, partners = { primary domain = count } } */
enum { QUESTIONS_ROUTES = 1, QUESTIONS_PARTNERS };

static void new_questions(lua_State *L, s2sp_milliseconds now) {
	lua_createtable(L, 0, 3);
	s2sp_lua_set_integer(L, "since", (lua_Integer)now);
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
	s2sp_milliseconds now = s2sp_now(),
					  window = (s2sp_milliseconds)s2sp_policy_limits(stream->policy)->establishment_timeout * 1000;
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
	struct s2sp_reserved_count route = s2sp_lua_reserve_count(L, own + QUESTIONS_ROUTES, remote);
	struct s2sp_reserved_count all = s2sp_lua_reserve_count(L, own + QUESTIONS_PARTNERS, partner);
	s2sp_lua_change_count(L, own + QUESTIONS_ROUTES, route, change);
	s2sp_lua_change_count(L, own + QUESTIONS_PARTNERS, all, change);
}

struct s2sp_decision s2sp_lua_question_ask(lua_State *L, int guard, int record) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	if (stream->policy == NULL || stream->partner == NULL)
		return s2sp_no_record;
	int top = lua_gettop(L), own = push_questions(L, guard, record, stream);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record), partner = asked_partner(stream);
	struct s2sp_decision decision =
		s2sp_decide_question((struct s2sp_questions){ .route = s2sp_lua_count_at(L, own + QUESTIONS_ROUTES, remote),
													  .partner = s2sp_lua_count_at(L, own + QUESTIONS_PARTNERS, partner) });
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
	if (s2sp_lua_count_at(L, own + QUESTIONS_ROUTES, remote) > 0)
		change_questions(L, own, remote, asked_partner(stream), -1);
	lua_settop(L, top);
}
