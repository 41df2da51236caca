/*
 * The administrator's tables, fed to the builder. They may hold anything: they are only ever read raw, so that no metamethod
 * of theirs runs, and their keys are sorted, so that issues come in a stable order.
 */
#include "policy_feed.h"

#include <stdlib.h>
#include <string.h>

/* The functions of the core can only fail for want of memory here; the config is owned by its userdata. */
void s2sp_lua_check_status(lua_State *L, enum s2sp_status status) {
	if (status == S2SP_STATUS_NO_MEMORY)
		luaL_error(L, "not enough memory");
}

/* A key of a table, in the order in which keys are looked at. Strings are kept alive by the table. */
enum key_kind { KEY_INTEGER, KEY_STRING, KEY_FLOAT, KEY_BOOLEAN, KEY_OTHER };
struct key {
	enum key_kind kind;
	lua_Integer integer; /* or the type, or the boolean */
	lua_Number number;
	struct s2sp_text string;
};

static int compare_keys(const void *left, const void *right) {
	const struct key *a = left, *b = right;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->kind == KEY_FLOAT)
		return a->number < b->number ? -1 : a->number > b->number;
	if (a->kind != KEY_STRING)
		return a->integer < b->integer ? -1 : a->integer > b->integer;
	size_t common = a->string.length < b->string.length ? a->string.length : b->string.length;
	int order = common == 0 ? 0 : memcmp(a->string.bytes, b->string.bytes, common);
	if (order != 0)
		return order;
	return a->string.length < b->string.length ? -1 : a->string.length > b->string.length;
}

static struct key read_key(lua_State *L, int index) {
	struct key key = { .kind = KEY_OTHER, .integer = lua_type(L, index), .string = { NULL, 0 } };
	if (lua_isinteger(L, index)) {
		key.kind = KEY_INTEGER;
		key.integer = lua_tointeger(L, index);
	} else if (key.integer == LUA_TNUMBER) {
		key.kind = KEY_FLOAT;
		key.number = lua_tonumber(L, index);
	} else if (key.integer == LUA_TSTRING) {
		key.kind = KEY_STRING;
		key.string.bytes = lua_tolstring(L, index, &key.string.length);
	} else if (key.integer == LUA_TBOOLEAN) {
		key.kind = KEY_BOOLEAN;
		key.integer = lua_toboolean(L, index);
	}
	return key;
}

/* The sorted keys of the table at `table`, in a userdata that is pushed. */
static struct key *sorted_keys(lua_State *L, int table, size_t *count) {
	size_t room = 0, filled = 0;
	luaL_checkstack(L, 8, "tables nested too deep");
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
		room++;
	struct key *keys = lua_newuserdatauv(L, (room + 1) * sizeof(struct key), 0);
	/* A weak table may have lost some meanwhile, never gained any. */
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
		if (filled < room)
			keys[filled++] = read_key(L, -2);
	}
	qsort(keys, filled, sizeof(*keys), compare_keys);
	*count = filled;
	return keys;
}

/* A key that is no plain value is refused whatever stands behind it, so that is not looked up. */
static void push_value(lua_State *L, int table, const struct key *key) {
	switch (key->kind) {
	case KEY_INTEGER:
		lua_rawgeti(L, table, key->integer);
		return;
	case KEY_STRING:
		lua_pushlstring(L, key->string.bytes, key->string.length);
		break;
	case KEY_FLOAT:
		lua_pushnumber(L, key->number);
		break;
	case KEY_BOOLEAN:
		lua_pushboolean(L, key->integer != 0);
		break;
	case KEY_OTHER:
		lua_pushnil(L);
		return;
	}
	lua_rawget(L, table);
}

/* The key as it prints; pushed, so that the text lives on. */
static struct s2sp_text push_key_text(lua_State *L, const struct key *key) {
	struct s2sp_text text;
	switch (key->kind) {
	case KEY_INTEGER:
		lua_pushfstring(L, "%I", (LUAI_UACINT)key->integer);
		break;
	case KEY_STRING:
		lua_pushlstring(L, key->string.bytes, key->string.length);
		break;
	case KEY_FLOAT:
		lua_pushfstring(L, "%f", (LUAI_UACNUMBER)key->number);
		break;
	case KEY_BOOLEAN:
		lua_pushstring(L, key->integer ? "true" : "false");
		break;
	case KEY_OTHER:
		lua_pushfstring(L, "a %s", lua_typename(L, (int)key->integer));
		break;
	}
	text.bytes = lua_tolstring(L, -1, &text.length);
	return text;
}

/* Strings stay the property of the Lua value at `index`. */
struct s2sp_value s2sp_lua_value(lua_State *L, int index) {
	struct s2sp_value value = { .kind = S2SP_VALUE_OTHER };
	switch (lua_type(L, index)) {
	case LUA_TNIL:
	case LUA_TNONE:
		value.kind = S2SP_VALUE_NIL;
		break;
	case LUA_TBOOLEAN:
		value.kind = S2SP_VALUE_BOOLEAN;
		value.boolean = lua_toboolean(L, index);
		break;
	case LUA_TNUMBER:
		value.kind = S2SP_VALUE_NUMBER;
		value.number = (double)lua_tonumber(L, index);
		break;
	case LUA_TSTRING:
		value.kind = S2SP_VALUE_STRING;
		value.string.bytes = lua_tolstring(L, index, &value.string.length);
		break;
	case LUA_TTABLE:
		value.kind = S2SP_VALUE_TABLE;
		break;
	case LUA_TFUNCTION:
		value.string = S2SP_TEXT("a function");
		break;
	case LUA_TTHREAD:
		value.string = S2SP_TEXT("a thread");
		break;
	default: /* LUA_TUSERDATA, LUA_TLIGHTUSERDATA: the types are Lua's ints */
		value.string = S2SP_TEXT("a userdata");
		break;
	}
	return value;
}

/* The value of a key, left on the stack. */
static struct s2sp_value take_value(lua_State *L, int table, const struct key *key) {
	push_value(L, table, key);
	if (key->kind == KEY_OTHER)
		return (struct s2sp_value){ .kind = S2SP_VALUE_OTHER, .string = S2SP_TEXT("something") };
	return s2sp_lua_value(L, -1);
}

static void feed_stray(lua_State *L, struct s2sp_config *config, const struct key *key, const struct s2sp_value *value) {
	struct s2sp_text text = push_key_text(L, key);
	s2sp_lua_check_status(L, s2sp_config_stray(config, text, value));
	lua_pop(L, 1);
}

static void feed_list(lua_State *L, struct s2sp_config *config, int table, enum s2sp_contents contents);

static void feed_key(lua_State *L, struct s2sp_config *config, int table, const struct key *key) {
	struct s2sp_value value = take_value(L, table, key);
	struct s2sp_text text = push_key_text(L, key);
	s2sp_lua_check_status(L, s2sp_config_set(config, text, &value));
	enum s2sp_contents contents = s2sp_config_follows(config);
	if (contents != S2SP_CONTENTS_NONE) {
		feed_list(L, config, lua_gettop(L) - 1, contents);
		s2sp_lua_check_status(L, s2sp_config_end(config));
	}
	lua_pop(L, 2);
}

static bool is_domain_key(const struct key *key) {
	return key->kind == KEY_STRING && s2sp_text_equal(key->string, S2SP_TEXT("domain"));
}

/* The keys of the table at `table`, the domain before all others: they refer to it. */
static void feed_keys(lua_State *L, struct s2sp_config *config, int table) {
	size_t count;
	struct key *keys = sorted_keys(L, table, &count);
	for (size_t i = 0; i < count; i++) {
		if (is_domain_key(&keys[i]))
			feed_key(L, config, table, &keys[i]);
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_domain_key(&keys[i]))
			feed_key(L, config, table, &keys[i]);
	}
	lua_pop(L, 1);
}

static void feed_partner(lua_State *L, struct s2sp_config *config, size_t index, int table) {
	struct s2sp_value value = s2sp_lua_value(L, table);
	struct s2sp_text name = { NULL, 0 };
	luaL_checkstack(L, 8, NULL);
	if (value.kind == S2SP_VALUE_TABLE) {
		lua_pushliteral(L, "domain");
		if (lua_rawget(L, table) == LUA_TSTRING)
			name.bytes = lua_tolstring(L, -1, &name.length);
		lua_pop(L, 1);
	}
	s2sp_lua_check_status(L, s2sp_config_begin_partner(config, index, &value, name));
	if (s2sp_config_follows(config) == S2SP_CONTENTS_KEYS) {
		feed_keys(L, config, table);
		s2sp_lua_check_status(L, s2sp_config_end(config));
	}
}

/* The list (or map of users) at `table`; `contents` says what of. */
static void feed_list(lua_State *L, struct s2sp_config *config, int table, enum s2sp_contents contents) {
	size_t count, next = 1;
	struct key *keys = sorted_keys(L, table, &count);
	for (size_t i = 0; i < count; i++) {
		struct s2sp_value value = take_value(L, table, &keys[i]);
		if (contents == S2SP_CONTENTS_MAP && keys[i].kind == KEY_STRING) {
			s2sp_lua_check_status(L, s2sp_config_add(config, 0, keys[i].string, &value));
		} else if (contents == S2SP_CONTENTS_MAP || keys[i].kind != KEY_INTEGER || keys[i].integer < 1) {
			feed_stray(L, config, &keys[i], &value);
		} else {
			size_t at = (size_t)keys[i].integer;
			if (at > next)
				s2sp_lua_check_status(L, s2sp_config_gap(config, next, at - 1));
			next = at + 1;
			if (contents == S2SP_CONTENTS_PARTNERS)
				feed_partner(L, config, at, lua_gettop(L));
			else
				s2sp_lua_check_status(L, s2sp_config_add(config, at, (struct s2sp_text){ NULL, 0 }, &value));
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

void s2sp_lua_feed(lua_State *L, struct s2sp_config *config, int index) {
	enum s2sp_contents contents = s2sp_config_follows(config);
	if (contents == S2SP_CONTENTS_KEYS)
		feed_keys(L, config, lua_absindex(L, index));
	else if (contents != S2SP_CONTENTS_NONE)
		feed_list(L, config, lua_absindex(L, index), contents);
}
