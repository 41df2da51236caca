#include "policy_object.h"

#include <limits.h>

#include "idna.h"
#include "objects.h"
#include "table_draft.h"
#include "values.h"

/* What the userdata of a policy holds. */
struct policy_slot {
	struct s2sp_policy *policy;
	const void *mark; /* last: see s2sp_lua_marked */
};

static const char policy_mark;

struct s2sp_policy **s2sp_lua_new_policy(lua_State *L) {
	struct policy_slot *slot = lua_newuserdatauv(L, sizeof(*slot), 1);
	slot->policy = NULL;
	slot->mark = &policy_mark;
	luaL_setmetatable(L, S2SP_LUA_POLICY);
	return &slot->policy;
}

struct s2sp_partner_table **s2sp_lua_new_table(lua_State *L) {
	return s2sp_lua_new_slot(L, S2SP_LUA_TABLE, 0);
}

struct s2sp_policy *s2sp_lua_test_policy(lua_State *L, int index) {
	struct policy_slot *slot = s2sp_lua_marked(L, index, sizeof(*slot), &policy_mark);
	return slot == NULL ? NULL : slot->policy;
}

struct s2sp_policy *s2sp_lua_check_policy(lua_State *L, int index) {
	struct s2sp_policy **slot = luaL_checkudata(L, index, S2SP_LUA_POLICY);
	luaL_argcheck(L, *slot != NULL, index, "policy without content");
	return *slot;
}

struct s2sp_partner_table *s2sp_lua_check_table(lua_State *L, int index) {
	return s2sp_lua_check_slot(L, index, S2SP_LUA_TABLE, "partner table");
}

static int free_policy(lua_State *L) {
	struct s2sp_policy **slot = luaL_checkudata(L, 1, S2SP_LUA_POLICY);
	s2sp_policy_free(*slot);
	*slot = NULL;
	return 0;
}

static int free_table(lua_State *L) {
	struct s2sp_partner_table **slot = luaL_checkudata(L, 1, S2SP_LUA_TABLE);
	s2sp_partner_table_free(*slot);
	*slot = NULL;
	return 0;
}

static int table_count(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)s2sp_partner_table_count(s2sp_lua_check_table(L, 1)));
	return 1;
}

static int policy_count(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)s2sp_partner_table_count(s2sp_policy_table(s2sp_lua_check_policy(L, 1))));
	return 1;
}

/* policy:table() -> the partner table it stands on */
static int policy_table(lua_State *L) {
	s2sp_lua_check_policy(L, 1);
	lua_getiuservalue(L, 1, 1);
	return 1;
}

/* The canonical form of the string at `index`; its length is 0 when it is no domain. */
static enum s2sp_domain_fault check_domain(lua_State *L, int index, struct s2sp_domain *domain) {
	struct s2sp_text name;
	name.bytes = luaL_checklstring(L, index, &name.length);
	return s2sp_domain_parse(name, s2sp_idna_to_ascii, domain);
}

/* policy:find(domain) -> a view of what holds for it, nil when it is refused */
static int policy_find(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	struct s2sp_domain domain;
	enum s2sp_match match = S2SP_MATCH_NONE;
	const struct s2sp_partner *partner = NULL;
	if (check_domain(L, 2, &domain) == S2SP_DOMAIN_OK)
		partner = s2sp_policy_find(policy, (struct s2sp_text){ domain.bytes, domain.length }, &match);
	if (partner == NULL)
		lua_pushnil(L);
	else
		s2sp_lua_push_partner(L, policy, partner, match);
	return 1;
}

/* policy:label(domain) -> the primary domain of the partner it belongs to, or "unlisted" */
static int policy_label(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	struct s2sp_domain domain;
	const struct s2sp_partner *partner = NULL;
	if (check_domain(L, 2, &domain) == S2SP_DOMAIN_OK)
		partner = s2sp_partner_table_find(s2sp_policy_table(policy), (struct s2sp_text){ domain.bytes, domain.length }, NULL);
	if (partner == NULL)
		lua_pushliteral(L, "unlisted");
	else
		lua_pushlstring(L, partner->name.bytes, partner->name.length);
	return 1;
}

/* policy:partners() -> views of all partners, in the order of the configuration */
static int policy_partners(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	const struct s2sp_partner_table *table = s2sp_policy_table(policy);
	size_t count = s2sp_partner_table_count(table);
	lua_createtable(L, count > INT_MAX ? 0 : (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		s2sp_lua_push_partner(L, policy, s2sp_partner_table_at(table, i), S2SP_MATCH_PRIMARY);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* policy:automatic(most) -> the names of those partners whose users' requests are authorised automatically, no more than so many, and their number */
static int policy_automatic(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	lua_Integer most = luaL_checkinteger(L, 2), count = 0;
	const struct s2sp_partner *partner;
	lua_newtable(L);
	for (size_t i = 0; (partner = s2sp_partner_table_at(s2sp_policy_table(policy), i)) != NULL; i++) {
		if (!partner->presence_automatic || count++ >= most)
			continue;
		lua_pushlstring(L, partner->name.bytes, partner->name.length);
		lua_rawseti(L, -2, count);
	}
	lua_pushinteger(L, count);
	return 2;
}

/* policy:domains(position) -> the domains of the partner that stands there in the configuration, the primary one first; nil behind the last. For
   who goes through a long list and wants no views of it. */
static int policy_domains(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	lua_Integer position = luaL_checkinteger(L, 2);
	const struct s2sp_partner *partner =
		position < 1 ? NULL : s2sp_partner_table_at(s2sp_policy_table(policy), (size_t)position - 1);
	if (partner == NULL) {
		lua_pushnil(L);
		return 1;
	}
	lua_createtable(L, partner->additional_count < INT_MAX ? (int)partner->additional_count + 1 : 0, 0);
	lua_pushlstring(L, partner->name.bytes, partner->name.length);
	lua_rawseti(L, -2, 1);
	for (uint32_t i = 0; i < partner->additional_count; i++) {
		lua_pushlstring(L, partner->additional[i].bytes, partner->additional[i].length);
		lua_rawseti(L, -2, (lua_Integer)i + 2);
	}
	return 1;
}

/* policy:default() -> a view of the policy for unlisted domains, nil when they are refused */
static int policy_default(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	const struct s2sp_partner *partner = s2sp_policy_default(policy);
	if (partner == NULL)
		lua_pushnil(L);
	else
		s2sp_lua_push_partner(L, policy, partner, S2SP_MATCH_NONE);
	return 1;
}

/* policy:out_of_reach() -> whether the host takes part in no stream */
static int policy_out_of_reach(lua_State *L) {
	lua_pushboolean(L, s2sp_policy_out_of_reach(s2sp_lua_check_policy(L, 1)));
	return 1;
}

/* policy:unlisted() -> how unlisted domains fare, in words */
static int policy_unlisted(lua_State *L) {
	const struct s2sp_partner *partner = s2sp_policy_default(s2sp_lua_check_policy(L, 1));
	if (partner == NULL)
		lua_pushliteral(L, "refused");
	else
		lua_pushfstring(L, "%s, tls %s, sasl %s, dialback %s", s2sp_partner_type_token((enum s2sp_partner_type)partner->type),
						s2sp_requirement_token(partner->row->tls), s2sp_requirement_token(partner->row->sasl),
						partner->row->dialback ? "yes" : "no");
	return 1;
}

static int policy_limits(lua_State *L) {
	const struct s2sp_limits *limits = s2sp_policy_limits(s2sp_lua_check_policy(L, 1));
	lua_createtable(L, 0, 5);
	s2sp_lua_set_integer(L, "connections", limits->connections);
	s2sp_lua_set_integer(L, "partner_connections", limits->partner_connections);
	s2sp_lua_set_integer(L, "establishment_timeout", limits->establishment_timeout);
	s2sp_lua_set_integer(L, "inactivity_timeout", limits->inactivity_timeout);
	s2sp_lua_set_integer(L, "keepalive_interval", limits->keepalive_interval);
	return 1;
}

/* policy:external_access(user, domain or nil) -> whether that local user (prepared localpart) may federate, with the partner of that domain */
static int policy_external_access(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	struct s2sp_text user;
	user.bytes = luaL_checklstring(L, 2, &user.length);
	const struct s2sp_partner *partner = NULL;
	if (!lua_isnoneornil(L, 3)) {
		struct s2sp_domain domain;
		s2sp_lua_domain(s2sp_lua_text(L, 3), &domain);
		partner = s2sp_policy_find(policy, s2sp_domain_text(&domain), NULL);
	}
	lua_pushboolean(L, s2sp_policy_external_access(policy, partner, user));
	return 1;
}

/* canonical_domain(name) -> A-labels in lower case, or nil and why it is no domain */
static int canonical_domain(lua_State *L) {
	struct s2sp_domain domain;
	enum s2sp_domain_fault fault = check_domain(L, 1, &domain);
	if (fault == S2SP_DOMAIN_OK) {
		lua_pushlstring(L, domain.bytes, domain.length);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, s2sp_domain_fault_text(fault));
	return 2;
}

int s2sp_lua_open_policy(lua_State *L) {
	static const luaL_Reg table_methods[] = { { "count", table_count }, { NULL, NULL } };
	static const luaL_Reg policy_methods[] = {
		{ "count", policy_count },
		{ "table", policy_table },
		{ "find", policy_find },
		{ "label", policy_label },
		{ "partners", policy_partners },
		{ "domains", policy_domains },
		{ "automatic", policy_automatic },
		{ "default", policy_default },
		{ "out_of_reach", policy_out_of_reach },
		{ "unlisted", policy_unlisted },
		{ "limits", policy_limits },
		{ "external_access", policy_external_access },
		{ NULL, NULL },
	};
	static const luaL_Reg functions[] = {
		{ "compile_table", s2sp_lua_compile_table },
		{ "compile_policy", s2sp_lua_compile_policy },
		{ "canonical_domain", canonical_domain },
		{ "pinned_partners", s2sp_lua_pinned_partners },
		{ NULL, NULL },
	};
	s2sp_lua_new_class(L, S2SP_LUA_TABLE, table_methods, free_table);
	s2sp_lua_new_class(L, S2SP_LUA_POLICY, policy_methods, free_policy);
	luaL_newlib(L, functions);
	s2sp_lua_draft_class(L);
	luaL_setfuncs(L, s2sp_lua_draft_functions, 0);
	return 1;
}
