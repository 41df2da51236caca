/*
 * The administrator's tables, fed to the builder. They may hold anything: they are only ever read raw, so that no metamethod
 * of theirs runs, and their keys are sorted, so that issues come in a stable order.
 */
#include "policy_feed.h"

#include <stdlib.h>
#include <string.h>

/* The functions of the core can fail here only when memory runs out; the config is owned by its userdata. */
void s2sp_lua_check_status(lua_State *L, enum s2sp_status status) {
	if (status == S2SP_STATUS_NO_MEMORY)
		luaL_error(L, "not enough memory");
}

/* A key of a table, in the order in which keys are looked at. Strings are kept alive by the table. */
enum key_kind { KEY_INTEGER, KEY_STRING, KEY_FLOAT, KEY_BOOLEAN, KEY_OTHER };
struct key {
	enum key_kind kind;
	int at;              /* where it stands on the stack, its value above it; 0: not there, to be looked up */
	lua_Integer integer; /* or the type, or the boolean */
	lua_Number number;
	struct s2sp_text string;
};

/* The keys of one table. drop_keys frees them and pops what belongs to them. */
#define FEW 16
struct keys {
	struct key *sorted;
	size_t count;
	int top; /* of the stack, before */
	struct key few[FEW];
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

/* Nearly every table: keys and values are left on the stack, which spares finding each a second time. */
static bool read_few(lua_State *L, int table, struct keys *keys) {
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pushvalue(L, -2)) {
		if (keys->count == FEW)
			return false;
		struct key key = read_key(L, -2);
		key.at = lua_gettop(L) - 1;
		keys->few[keys->count++] = key;
	}
	keys->sorted = keys->few;
	return true;
}

/* Any number, in a userdata that is pushed. */
static void read_many(lua_State *L, int table, struct keys *keys) {
	size_t room = 0;
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
		room++;
	keys->sorted = lua_newuserdatauv(L, (room + 1) * sizeof(struct key), 0);
	keys->count = 0;
	/* A weak table may have lost some meanwhile, never gained any. */
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
		if (keys->count < room)
			keys->sorted[keys->count++] = read_key(L, -2);
	}
}

static void sorted_keys(lua_State *L, int table, struct keys *keys) {
	bool sorted = true; /* as lists are */
	luaL_checkstack(L, 2 * FEW + 8, "tables nested too deep");
	keys->top = lua_gettop(L);
	keys->count = 0;
	if (!read_few(L, table, keys)) {
		lua_settop(L, keys->top);
		read_many(L, table, keys);
	}
	for (size_t i = 1; i < keys->count && sorted; i++)
		sorted = compare_keys(&keys->sorted[i - 1], &keys->sorted[i]) < 0;
	if (!sorted)
		qsort(keys->sorted, keys->count, sizeof(struct key), compare_keys);
}

static void drop_keys(lua_State *L, const struct keys *keys) {
	lua_settop(L, keys->top);
}

/* A key that is no plain value is refused whatever stands behind it, so that is not looked up. */
static void push_value(lua_State *L, int table, const struct key *key) {
	if (key->at != 0 && key->kind != KEY_OTHER) {
		lua_pushvalue(L, key->at + 1);
		return;
	}
	switch (key->kind) {
	case KEY_INTEGER: lua_rawgeti(L, table, key->integer); return;
	case KEY_STRING: lua_pushlstring(L, key->string.bytes, key->string.length); break;
	case KEY_FLOAT: lua_pushnumber(L, key->number); break;
	case KEY_BOOLEAN: lua_pushboolean(L, key->integer != 0); break;
	case KEY_OTHER: lua_pushnil(L); return;
	}
	lua_rawget(L, table);
}

/* The key as it prints; pushed, so that the text lives on. */
static struct s2sp_text push_key_text(lua_State *L, const struct key *key) {
	struct s2sp_text text;
	switch (key->kind) {
	case KEY_INTEGER: lua_pushfstring(L, "%I", (LUAI_UACINT)key->integer); break;
	case KEY_STRING:
		if (key->at != 0)
			lua_pushvalue(L, key->at);
		else
			lua_pushlstring(L, key->string.bytes, key->string.length);
		break;
	case KEY_FLOAT: lua_pushfstring(L, "%f", (LUAI_UACNUMBER)key->number); break;
	case KEY_BOOLEAN: lua_pushstring(L, key->integer ? "true" : "false"); break;
	case KEY_OTHER: lua_pushfstring(L, "a %s", lua_typename(L, (int)key->integer)); break;
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
		value.kind = S2SP_VALUE_ABSENT;
		value.string = S2SP_TEXT("nil");
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
		value.kind = S2SP_VALUE_COMPOUND;
		value.string = S2SP_TEXT("a table");
		break;
	case LUA_TFUNCTION: value.string = S2SP_TEXT("a function"); break;
	case LUA_TTHREAD: value.string = S2SP_TEXT("a thread"); break;
	default: /* LUA_TUSERDATA, LUA_TLIGHTUSERDATA: the types are Lua's ints */ value.string = S2SP_TEXT("a userdata"); break;
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
static void feed_keys(lua_State *L, struct s2sp_config *config, int table);

static void feed_key(lua_State *L, struct s2sp_config *config, int table, const struct key *key) {
	struct s2sp_value value = take_value(L, table, key);
	struct s2sp_text text = push_key_text(L, key);
	s2sp_lua_check_status(L, s2sp_config_set(config, text, &value));
	enum s2sp_contents contents = s2sp_config_follows(config);
	if (contents != S2SP_CONTENTS_NONE) {
		if (contents == S2SP_CONTENTS_KEYS)
			feed_keys(L, config, lua_gettop(L) - 1);
		else
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
	struct keys keys;
	sorted_keys(L, table, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		if (is_domain_key(&keys.sorted[i]))
			feed_key(L, config, table, &keys.sorted[i]);
	}
	for (size_t i = 0; i < keys.count; i++) {
		if (!is_domain_key(&keys.sorted[i]))
			feed_key(L, config, table, &keys.sorted[i]);
	}
	drop_keys(L, &keys);
}

static void feed_partner(lua_State *L, struct s2sp_config *config, size_t index, int table) {
	struct s2sp_value value = s2sp_lua_value(L, table);
	struct s2sp_text name = { NULL, 0 };
	luaL_checkstack(L, 8, NULL);
	if (value.kind == S2SP_VALUE_COMPOUND) {
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
	struct keys keys;
	size_t next = 1;
	sorted_keys(L, table, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		const struct key *key = &keys.sorted[i];
		struct s2sp_value value = take_value(L, table, key);
		if (contents == S2SP_CONTENTS_MAP && key->kind == KEY_STRING) {
			s2sp_lua_check_status(L, s2sp_config_add(config, 0, key->string, &value));
		} else if (contents == S2SP_CONTENTS_MAP || key->kind != KEY_INTEGER || key->integer < 1) {
			feed_stray(L, config, key, &value);
		} else {
			size_t at = (size_t)key->integer;
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
	drop_keys(L, &keys);
}

void s2sp_lua_feed(lua_State *L, struct s2sp_config *config, int index) {
	enum s2sp_contents contents = s2sp_config_follows(config);
	if (contents == S2SP_CONTENTS_KEYS)
		feed_keys(L, config, lua_absindex(L, index));
	else if (contents != S2SP_CONTENTS_NONE)
		feed_list(L, config, lua_absindex(L, index), contents);
}
