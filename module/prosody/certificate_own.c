/* own_certificate: what partners will see of us, for the check before anybody connects. */
#include "certificate.h"

#include "../ident/certificate_own.h"
#include "../ident/idna.h"
#include "aux.h"

/* A file of a chain and its key: far more than anybody has. */
#define FILE_SIZE_MAX (1024 * 1024)

static void set_string(lua_State *L, const char *key, const char *value) {
	lua_pushstring(L, value);
	lua_setfield(L, -2, key);
}

static void set_boolean(lua_State *L, const char *key, bool value) {
	lua_pushboolean(L, value);
	lua_setfield(L, -2, key);
}

static void push_own(lua_State *L, const struct s2sp_own_certificate *own) {
	lua_createtable(L, 0, 10);
	set_boolean(L, "names_domain", own->names_domain);
	set_boolean(L, "key_strong", own->key_strong);
	set_boolean(L, "self_signed", own->self_signed);
	set_string(L, "key_type", own->key_type);
	set_string(L, "subject", own->subject);
	set_string(L, "issuer", own->issuer);
	set_string(L, "names", own->names);
	lua_pushinteger(L, (lua_Integer)own->key_bits);
	lua_setfield(L, -2, "key_bits");
	lua_pushinteger(L, (lua_Integer)own->not_before);
	lua_setfield(L, -2, "not_before");
	lua_pushinteger(L, (lua_Integer)own->not_after);
	lua_setfield(L, -2, "not_after");
}

/*
 * own_certificate(text, domain): of the first certificate in a PEM text -> { names_domain, key_type, key_bits, key_strong,
 * self_signed, subject, issuer, names, not_before, not_after }, or nil and what is wrong
 */
int s2sp_lua_own_certificate(lua_State *L) {
	struct s2sp_text pem;
	struct s2sp_domain domain;
	pem.bytes = luaL_checklstring(L, 1, &pem.length);
	luaL_checktype(L, 2, LUA_TSTRING);
	luaL_argcheck(L, pem.length <= FILE_SIZE_MAX, 1, "too large");
	s2sp_lua_domain(s2sp_lua_text(L, 2), &domain);
	unsigned char *der = lua_newuserdatauv(L, pem.length + 1, 0);
	struct s2sp_own_certificate *own = lua_newuserdatauv(L, sizeof(*own), 0);
	size_t length = 0;
	if (s2sp_certificate_from_pem(pem, der, pem.length + 1, &length) != S2SP_STATUS_OK) {
		lua_pushnil(L);
		lua_pushliteral(L, "holds no certificate in PEM form");
		return 2;
	}
	switch (s2sp_own_certificate_read((struct s2sp_text){ (const char *)der, length }, s2sp_domain_text(&domain),
									  s2sp_idna_to_ascii, own)) {
	case S2SP_STATUS_OK:
		push_own(L, own);
		return 1;
	case S2SP_STATUS_INVALID:
		lua_pushnil(L);
		lua_pushliteral(L, "holds a certificate that cannot be read");
		return 2;
	case S2SP_STATUS_FAILED:
	case S2SP_STATUS_NO_MEMORY:
		break;
	}
	return luaL_error(L, "not enough memory");
}
