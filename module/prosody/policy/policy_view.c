/* A partner's settings as a plain Lua table, for the console and the tests. */
#include "policy_object.h"

#include "values.h"

static void set_text(lua_State *L, const char *key, struct s2sp_text text) {
	lua_pushlstring(L, text.length == 0 ? "" : text.bytes, text.length);
	lua_setfield(L, -2, key);
}

static void set_methods(lua_State *L, const char *key, unsigned methods) {
	static const enum s2sp_method all[] = { S2SP_METHOD_SASL, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_TCP_DIALBACK };
	lua_Integer count = 0;
	lua_createtable(L, 3, 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!(methods & (unsigned)all[i]))
			continue;
		lua_pushstring(L, s2sp_method_token(all[i]));
		lua_rawseti(L, -2, ++count);
	}
	lua_setfield(L, -2, key);
}

/* RFC 4648 4, the way pins are written in the configuration. */
static void push_pin(lua_State *L, const struct s2sp_pin *pin) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[8 + 44 + 1] = "sha256//";
	size_t at = 8;
	for (size_t i = 0; i < sizeof(pin->sha256); i += 3) {
		bool last = i + 2 >= sizeof(pin->sha256);
		unsigned bits = (unsigned)pin->sha256[i] << 16 | (unsigned)pin->sha256[i + 1] << 8 | (last ? 0u : pin->sha256[i + 2]);
		text[at++] = alphabet[bits >> 18];
		text[at++] = alphabet[bits >> 12 & 63];
		text[at++] = alphabet[bits >> 6 & 63];
		text[at++] = last ? '=' : alphabet[bits & 63];
	}
	lua_pushlstring(L, text, at);
}

static void set_lists(lua_State *L, const struct s2sp_partner *partner) {
	lua_newtable(L);
	for (uint32_t i = 0; i < partner->additional_count; i++) {
		lua_pushlstring(L, partner->additional[i].bytes, partner->additional[i].length);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "additional_domains");
	lua_newtable(L);
	for (uint32_t i = 0; i < partner->pin_count; i++) {
		push_pin(L, &partner->pins[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "pinned_keys");
	lua_newtable(L);
	for (size_t i = 0; i < partner->addenda->crl_count; i++) {
		lua_pushlstring(L, partner->addenda->crls[i].bytes, partner->addenda->crls[i].length);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "crls");
	s2sp_lua_set_integer(L, "pins", partner->pin_count);
}

static void set_proxy(lua_State *L, const struct s2sp_partner *partner) {
	struct s2sp_text host = partner->addenda->proxy_host;
	if (host.length == 0)
		return;
	set_text(L, "proxy_host", host);
	s2sp_lua_set_integer(L, "proxy_port", partner->proxy_port);
	bool v6 = memchr(host.bytes, ':', host.length) != NULL;
	lua_pushfstring(L, v6 ? "[%s]:%d" : "%s:%d", host.bytes, (int)partner->proxy_port); /* the arena's texts end in NUL */
	lua_setfield(L, -2, "proxy");
}

/* The names of the settings that were written, as opposed to defaults. */
static void set_given(lua_State *L, const struct s2sp_partner *partner) {
	static const struct {
		const char *name;
		enum s2sp_partner_setting setting;
	} settings[] = {
		{ "tls", S2SP_GIVEN_TLS },
		{ "sasl", S2SP_GIVEN_SASL },
		{ "dialback", S2SP_GIVEN_DIALBACK },
		{ "connection_limit", S2SP_GIVEN_CONNECTION_LIMIT },
		{ "keepalive", S2SP_GIVEN_KEEPALIVE },
		{ "presence_authorization", S2SP_GIVEN_PRESENCE_AUTHORIZATION },
		{ "group_chat", S2SP_GIVEN_GROUP_CHAT },
		{ "revocation", S2SP_GIVEN_REVOCATION },
		{ "external_access", S2SP_GIVEN_EXTERNAL_ACCESS },
		{ "personal_events", S2SP_GIVEN_PERSONAL_EVENTS },
	};
	lua_newtable(L);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (partner->given & (unsigned)settings[i].setting)
			s2sp_lua_set_boolean(L, settings[i].name, true);
	}
	lua_setfield(L, -2, "given");
}

static void add_pinned(lua_State *L, const struct s2sp_partner *partner) {
	if (partner == NULL || partner->pin_count == 0)
		return;
	lua_createtable(L, 0, 2);
	set_text(L, "name", partner->name);
	lua_createtable(L, (int)partner->pin_count, 0);
	for (uint32_t i = 0; i < partner->pin_count; i++) {
		push_pin(L, &partner->pins[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "pins");
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

int s2sp_lua_pinned_partners(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	const struct s2sp_partner *partner;
	lua_newtable(L);
	for (size_t i = 0; (partner = s2sp_partner_table_at(s2sp_policy_table(policy), i)) != NULL; i++)
		add_pinned(L, partner);
	add_pinned(L, s2sp_policy_default(policy));
	return 1;
}

void s2sp_lua_push_place(lua_State *L, const struct s2sp_partner *partner) {
	if (partner->entry == 0)
		lua_pushlstring(L, partner->place.bytes, partner->place.length);
	else
		lua_pushfstring(L, "%s[%I]", partner->place.bytes, (LUAI_UACINT)partner->entry);
}

void s2sp_lua_push_partner(lua_State *L, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
						   enum s2sp_match match) {
	uint32_t limit = partner->connection_limit;
	luaL_checkstack(L, 8, NULL);
	lua_createtable(L, 0, 27);
	set_text(L, "name", partner->name);
	set_text(L, "description", partner->description);
	s2sp_lua_push_place(L, partner);
	lua_setfield(L, -2, "place");
	s2sp_lua_set_string(L, "partner_type", s2sp_partner_type_token((enum s2sp_partner_type)partner->type));
	s2sp_lua_set_string(L, "tls", s2sp_requirement_token(partner->row->tls));
	s2sp_lua_set_string(L, "sasl", s2sp_requirement_token(partner->row->sasl));
	s2sp_lua_set_boolean(L, "dialback", partner->row->dialback);
	set_methods(L, "methods", s2sp_policy_methods(policy, partner));
	set_methods(L, "row_methods", partner->row->methods);
	s2sp_lua_set_string(L, "match", partner == s2sp_policy_default(policy) ? "default" : s2sp_match_token(match));
	set_lists(L, partner);
	if (partner->trust_anchors.length > 0)
		set_text(L, "trust_anchors", partner->trust_anchors);
	s2sp_lua_set_string(L, "revocation", s2sp_revocation_token(s2sp_policy_revocation(policy, partner)));
	s2sp_lua_set_boolean(L, "host_crls", s2sp_policy_host_crls(policy, partner));
	s2sp_lua_set_integer(L, "connection_limit", limit > 0 ? limit : s2sp_policy_limits(policy)->partner_connections);
	s2sp_lua_set_boolean(L, "keepalive", partner->keepalive);
	set_proxy(L, partner);
	s2sp_lua_set_string(L, "presence_authorization", partner->presence_automatic ? "automatic" : "user");
	s2sp_lua_set_string(L, "group_chat", partner->group_chat ? "allow" : "refuse");
	s2sp_lua_set_string(L, "personal_events", partner->personal_events ? "allow" : "refuse");
	if (partner->narrowed) {
		lua_createtable(L, 0, 2);
		s2sp_lua_set_string(L, "default", s2sp_partner_access_default(partner) ? "allow" : "deny");
		s2sp_lua_set_integer(L, "users", (lua_Integer)s2sp_partner_access_users(partner));
		lua_setfield(L, -2, "external_access");
	}
	set_given(L, partner);
}
