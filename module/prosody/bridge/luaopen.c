/* The module's face to Lua. */
#include "question.h"
#include "refused_stanza.h"
#include "peer_certificate.h"
#include "counters.h"
#include "crl_sets.h"
#include "explanation.h"
#include "first_look.h"
#include "handler.h"
#include "no_delay.h"
#include "policy_object.h"
#include "record.h"
#include "places.h"
#include "stream_times.h"
#include "all_streams.h"
#include "sync_file.h"

/* install_host(guard, context, host): the handlers of a virtual host or component. */
static int install_host(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TSTRING);
	s2sp_stream_handlers_install(L, 1, 2, 3);
	s2sp_stanza_handlers_install(L, 1, 2, 3);
	s2sp_limit_handlers_install(L, 1, 2, 3);
	s2sp_keepalive_handlers_install(L, 1, 2, 3);
	return 0;
}

/* install_global(guard, context) */
static int install_global(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	s2sp_global_handlers_install(L, 1, 2);
	return 0;
}

/* Adds { path, place, partner } of a partner with anchors of its own to the list on top. */
static void add_anchors(lua_State *L, const struct s2sp_partner *partner) {
	if (partner == NULL || partner->trust_anchors.length == 0)
		return;
	lua_createtable(L, 0, 3);
	lua_pushlstring(L, partner->trust_anchors.bytes, partner->trust_anchors.length);
	lua_setfield(L, -2, "path");
	s2sp_lua_push_place(L, partner);
	lua_setfield(L, -2, "place");
	lua_pushlstring(L, partner->name.bytes, partner->name.length);
	lua_setfield(L, -2, "partner");
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* trust_anchors(policy) -> { { path, place, partner }... } as the partners have them */
static int trust_anchors(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	const struct s2sp_partner *partner;
	lua_newtable(L);
	for (size_t i = 0; (partner = s2sp_partner_table_at(s2sp_policy_table(policy), i)) != NULL; i++)
		add_anchors(L, partner);
	add_anchors(L, s2sp_policy_default(policy));
	return 1;
}

/* The reason table as { [token] = { stream_condition, stanza_type, stanza_condition, text, peer_text, user_text } }. */
static int push_reasons(lua_State *L) {
	lua_createtable(L, 0, S2SP_REASON_COUNT);
	for (int reason = 0; reason < S2SP_REASON_COUNT; reason++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)reason);
		lua_createtable(L, 0, 6);
		s2sp_lua_set_string(L, "stream_condition", row->stream_condition);
		s2sp_lua_set_string(L, "stanza_type", row->stanza_type);
		s2sp_lua_set_string(L, "stanza_condition", row->stanza_condition);
		s2sp_lua_push_words(L, row->operator_text);
		lua_setfield(L, -2, "text");
		s2sp_lua_set_string(L, "peer_text", row->peer_text);
		s2sp_lua_set_string(L, "user_text", row->user_text);
		lua_setfield(L, -2, row->token);
	}
	return 1;
}

/* Moves the functions of the table on top into the one below it. */
static void merge(lua_State *L) {
	for (lua_pushnil(L); lua_next(L, -2) != 0;) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_settable(L, -5);
	}
	lua_pop(L, 1);
}

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
int luaopen_s2s_partners(lua_State *L);

int luaopen_s2s_partners(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "install_host", install_host },
		{ "install_global", install_global },
		{ "stanza_filter", s2sp_lua_stanza_filter },
		{ "trust_anchors", trust_anchors },
		{ "own_certificate", s2sp_lua_own_certificate },
		{ "own_chain", s2sp_lua_own_chain },
		{ "sync_file", s2sp_lua_sync_file },
		{ "first_look", s2sp_lua_first_look },
		{ "no_delay", s2sp_lua_no_delay },
		{ "quick_ack", s2sp_lua_quick_ack },
		{ NULL, NULL },
	};
	luaL_checkversion(L);
	luaL_newlib(L, functions);
	s2sp_lua_open_policy(L);
	merge(L);
	s2sp_lua_open_stream(L);
	merge(L);
	s2sp_lua_open_certificate(L);
	merge(L);
	s2sp_lua_open_crls(L);
	merge(L);
	s2sp_lua_open_limits(L);
	merge(L);
	s2sp_lua_open_times(L);
	merge(L);
	s2sp_lua_open_streams(L);
	merge(L);
	s2sp_lua_open_counters(L);
	merge(L);
	s2sp_lua_open_explain(L);
	merge(L);
	s2sp_lua_open_authorise(L);
	merge(L);
	s2sp_lua_open_refusals(L);
	merge(L);
	push_reasons(L);
	lua_setfield(L, -2, "reasons");
	/* Of one partner in one user's roster: contacts, from where nobody is authorised automatically, and requests that wait for the user. */
	lua_createtable(L, 0, 2);
	s2sp_lua_set_integer(L, "contacts", S2SP_CONTACTS_MAX);
	s2sp_lua_set_integer(L, "waiting", S2SP_WAITING_REQUESTS_MAX);
	lua_setfield(L, -2, "bounds");
	/* The Lua files refuse to work with a shared object of another version. */
	lua_pushliteral(L, S2SP_VERSION);
	lua_setfield(L, -2, "version");
	return 1;
}
