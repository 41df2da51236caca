#include "values.h"

#include "prosody_vocabulary.h"

#include "idna.h"

int s2sp_lua_field(lua_State *L, int index, const char *name) {
	if (lua_type(L, index) == LUA_TTABLE)
		return lua_getfield(L, index, name);
	lua_pushnil(L);
	return LUA_TNIL;
}

struct s2sp_text s2sp_lua_text(lua_State *L, int index) {
	struct s2sp_text text = { NULL, 0 };
	if (lua_type(L, index) == LUA_TSTRING)
		text.bytes = lua_tolstring(L, index, &text.length);
	return text;
}

struct s2sp_text s2sp_lua_text_field(lua_State *L, int index, const char *name) {
	s2sp_lua_field(L, index, name);
	struct s2sp_text text = s2sp_lua_text(L, -1);
	lua_pop(L, 1);
	return text;
}

bool s2sp_lua_field_is(lua_State *L, int index, const char *name, const char *literal) {
	return s2sp_text_equal(s2sp_lua_text_field(L, index, name), s2sp_text_from(literal));
}

bool s2sp_lua_is_s2s(lua_State *L, int index) {
	struct s2sp_text type = s2sp_lua_text_field(L, index, "type");
	return type.length >= 3 && memcmp(type.bytes, "s2s", 3) == 0;
}

struct s2sp_text s2sp_jid_domain(struct s2sp_text jid) {
	return s2sp_jid_split(jid).domain;
}

bool s2sp_is_stanza_name(struct s2sp_text name) {
	return s2sp_text_equal(name, S2SP_TEXT("message")) || s2sp_text_equal(name, S2SP_TEXT("presence")) ||
		   s2sp_text_equal(name, S2SP_TEXT("iq"));
}

void s2sp_lua_domain(struct s2sp_text name, struct s2sp_domain *domain) {
	if (name.length == 0 || s2sp_domain_parse(name, s2sp_idna_to_ascii, domain) != S2SP_DOMAIN_OK)
		domain->length = 0;
}

bool s2sp_jid_is_of(struct s2sp_text jid, struct s2sp_text remote) {
	struct s2sp_text name = s2sp_jid_domain(jid);
	if (s2sp_text_equal(name, remote))
		return remote.length > 0;
	struct s2sp_domain domain;
	s2sp_lua_domain(name, &domain);
	return domain.length > 0 && s2sp_text_equal(s2sp_domain_text(&domain), remote);
}

void s2sp_lua_push_words(lua_State *L, const char *text) {
	struct s2sp_line line;
	if (!s2sp_text_has_slot(text)) {
		lua_pushstring(L, text);
		return;
	}
	s2sp_line_begin(&line);
	s2sp_vocabulary_write(&s2sp_prosody_vocabulary, text, &line);
	lua_pushlstring(L, line.bytes, line.length);
}
