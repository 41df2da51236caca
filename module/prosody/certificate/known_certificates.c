/* Chains that have been found valid before: a partner presents the same one each time it connects. */
#include "peer_certificate.h"

#include "values.h"

/* So many are remembered for one trust store; then all are forgotten. */
#define KNOWN_MAX 512

enum { STORE_KNOWN = 1 }; /* the store's user value: { count, [key] = entry } */
enum { ENTRY_CHAIN = 1, ENTRY_REPORT, ENTRY_SINCE, ENTRY_UNTIL, ENTRY_COUNT = ENTRY_UNTIL };

/*
 * Pushes what a verdict depends on besides the store, the chain and the time: the domain, what is asked about revocation, and the pins. Lists
 * that are read anew are another set, with another mark, so nothing that was judged by those before is found again.
 */
static void push_key(lua_State *L, const struct s2sp_lua_peer *peer) {
	luaL_Buffer buffer;
	luaL_buffinit(L, &buffer);
	luaL_addlstring(&buffer, peer->domain.bytes, peer->domain.length);
	luaL_addchar(&buffer, '\0'); /* in no domain */
	luaL_addchar(&buffer, (char)peer->revocation);
	luaL_addchar(&buffer, peer->crls == NULL ? '0' : '1');
	if (peer->crls != NULL)
		luaL_addlstring(&buffer, (const char *)peer->crls->mark, sizeof(peer->crls->mark));
	for (size_t i = 0; i < peer->pin_count; i++)
		luaL_addlstring(&buffer, (const char *)peer->pins[i].sha256, sizeof(peer->pins[i].sha256));
	luaL_pushresult(&buffer);
}

/* Byte for byte. */
static bool same_chain(lua_State *L, int a, int b) {
	lua_Unsigned count = lua_rawlen(L, a);
	bool same = count == lua_rawlen(L, b);
	for (lua_Unsigned i = 1; i <= count && same; i++) {
		lua_rawgeti(L, a, (lua_Integer)i);
		lua_rawgeti(L, b, (lua_Integer)i);
		same = lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	return same;
}

/* Whether the entry on top was judged for this chain, and its dates still hold. */
static bool holds(lua_State *L, int chain, lua_Integer now) {
	int entry = lua_gettop(L);
	lua_rawgeti(L, entry, ENTRY_CHAIN);
	lua_rawgeti(L, entry, ENTRY_SINCE);
	lua_rawgeti(L, entry, ENTRY_UNTIL);
	bool good = lua_tointeger(L, -2) <= now && now < lua_tointeger(L, -1) && same_chain(L, chain, entry + 1);
	lua_settop(L, entry);
	return good;
}

bool s2sp_lua_recall_report(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer) {
	int top = lua_gettop(L);
	luaL_checkstack(L, 12, NULL);
	if (lua_istable(L, chain) && lua_getiuservalue(L, store, STORE_KNOWN) == LUA_TTABLE) {
		push_key(L, peer);
		if (lua_rawget(L, top + 1) == LUA_TTABLE && holds(L, chain, (lua_Integer)peer->now)) {
			lua_rawgeti(L, top + 2, ENTRY_REPORT);
			lua_replace(L, top + 1);
			lua_settop(L, top + 1);
			return true;
		}
	}
	lua_settop(L, top);
	return false;
}

/* Pushes the store's table of what is known, a new one when there is none or it is full. */
static void push_known(lua_State *L, int store) {
	lua_Integer count = 0;
	if (lua_getiuservalue(L, store, STORE_KNOWN) == LUA_TTABLE) {
		lua_rawgeti(L, -1, 1);
		count = lua_tointeger(L, -1);
		lua_pop(L, 1);
	}
	if (count == 0 || count >= KNOWN_MAX) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, store, STORE_KNOWN);
		count = 0;
	}
	/* An entry that takes another's place is counted too; no harm in that. */
	lua_pushinteger(L, count + 1);
	lua_rawseti(L, -2, 1);
}

void s2sp_lua_remember_report(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer) {
	int report = lua_gettop(L);
	luaL_checkstack(L, 12, NULL);
	lua_Integer now = (lua_Integer)peer->now;
	lua_Integer until = lua_getfield(L, report, "chain_not_after") == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
	/* A revocation list ends, and what was covered is no more; or another begins. */
	if (lua_getfield(L, report, "revocation_until") == LUA_TNUMBER && lua_tointeger(L, -1) < until)
		until = lua_tointeger(L, -1);
	if (until > now && lua_istable(L, chain)) {
		push_known(L, store);
		push_key(L, peer);
		lua_createtable(L, ENTRY_COUNT, 0);
		lua_pushvalue(L, chain);
		lua_rawseti(L, -2, ENTRY_CHAIN);
		lua_pushvalue(L, report);
		lua_rawseti(L, -2, ENTRY_REPORT);
		lua_pushinteger(L, now);
		lua_rawseti(L, -2, ENTRY_SINCE);
		lua_pushinteger(L, until);
		lua_rawseti(L, -2, ENTRY_UNTIL);
		lua_rawset(L, -3);
	}
	lua_settop(L, report);
}
