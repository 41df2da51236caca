#include "crl_sets.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "objects.h"
#include "policy_object.h"
#include "values.h"

#define READER_CLASS "s2s_partners.crl_reader"
#define FILE_CLASS "s2s_partners.crl_file"
#define SET_CLASS "s2s_partners.crls"
#define MESSAGE_SIZE 2048

/* --- files, read in steps --- */

static struct s2sp_crl_file *check_file(lua_State *L, int index) {
	return s2sp_lua_check_slot(L, index, FILE_CLASS, "file");
}

static int free_reader(lua_State *L) {
	struct s2sp_crl_reader **slot = luaL_checkudata(L, 1, READER_CLASS);
	s2sp_crl_reader_free(*slot);
	*slot = NULL;
	return 0;
}

static int free_file(lua_State *L) {
	struct s2sp_crl_file **slot = luaL_checkudata(L, 1, FILE_CLASS);
	s2sp_crl_file_free(*slot);
	*slot = NULL;
	return 0;
}

/* crl_reader(path) -> a reader, or nil and what is wrong, naming the file */
static int crl_reader(lua_State *L) {
	size_t length;
	const char *path = luaL_checklstring(L, 1, &length);
	char message[MESSAGE_SIZE];
	luaL_argcheck(L, length > 0 && strlen(path) == length, 1, "must be a path");
	struct s2sp_crl_reader **slot = s2sp_lua_new_slot(L, READER_CLASS, 0);
	enum s2sp_status status = s2sp_crl_reader_new(path, slot, message, sizeof(message));
	return s2sp_lua_outcome(L, status, message);
}

/*
 * reader:step() -> false while there is more to read; then the file and, when there is something to say, warnings, one a line; or nil and
 * what is wrong. A step takes some milliseconds.
 */
static int reader_step(lua_State *L) {
	struct s2sp_crl_reader **reader = luaL_checkudata(L, 1, READER_CLASS);
	char message[MESSAGE_SIZE];
	luaL_argcheck(L, *reader != NULL, 1, "reader that has finished");
	struct s2sp_crl_file **slot = s2sp_lua_new_slot(L, FILE_CLASS, 0);
	enum s2sp_status status = s2sp_crl_reader_step(*reader, slot, message, sizeof(message));
	if (status == S2SP_STATUS_OK && *slot == NULL) {
		lua_pushboolean(L, 0);
		return 1;
	}
	s2sp_crl_reader_free(*reader); /* of no more use, whatever it says */
	*reader = NULL;
	return s2sp_lua_outcome(L, status, message);
}

/* file:counts() -> lists, revoked certificates, bytes of memory */
static int file_counts(lua_State *L) {
	const struct s2sp_crl_file *file = check_file(L, 1);
	lua_pushinteger(L, (lua_Integer)s2sp_crl_file_lists(file));
	lua_pushinteger(L, (lua_Integer)s2sp_crl_file_entries(file));
	lua_pushinteger(L, (lua_Integer)s2sp_crl_file_size(file));
	return 3;
}

/* file:next_update() -> the first nextUpdate of its lists and the thisUpdate of that one, seconds since the epoch; nil: none has one */
static int file_next_update(lua_State *L) {
	int64_t this_update, next_update;
	if (!s2sp_crl_file_next_update(check_file(L, 1), &this_update, &next_update)) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, (lua_Integer)next_update);
	lua_pushinteger(L, (lua_Integer)this_update);
	return 2;
}

/* file:begins(now) -> when the next of its lists begins that is not valid yet, seconds since the epoch; nil: none */
static int file_begins(lua_State *L) {
	int64_t begins = s2sp_crl_file_begins(check_file(L, 1), (int64_t)luaL_checkinteger(L, 2));
	if (begins == 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, (lua_Integer)begins);
	return 1;
}

/* file:same(other) -> whether both hold the same lists */
static int file_same(lua_State *L) {
	lua_pushboolean(L, s2sp_crl_file_same(check_file(L, 1), check_file(L, 2)));
	return 1;
}

/*
 * file:follows(before, now) -> true when it may take the place of `before`; else nil, why not, and when the answer may be another (absent: never);
 * see s2sp_crl_file_follows
 */
static int file_follows(lua_State *L) {
	const struct s2sp_crl_file *next = check_file(L, 1), *before = check_file(L, 2);
	lua_Integer now = luaL_checkinteger(L, 3);
	char message[MESSAGE_SIZE];
	int64_t again;
	lua_pushboolean(L, 1);
	enum s2sp_status status = s2sp_crl_file_follows(next, before, (int64_t)now, message, sizeof(message), &again);
	int results = s2sp_lua_outcome(L, status, message);
	if (again == 0)
		return results;
	lua_pushinteger(L, (lua_Integer)again);
	return results + 1;
}

/* --- sets --- */

const struct s2sp_lua_crls *s2sp_lua_test_crls(lua_State *L, int index) {
	return luaL_testudata(L, index, SET_CLASS);
}

/* crl_set{ file... } -> the files as a set */
static int crl_set(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	size_t count = lua_rawlen(L, 1);
	luaL_argcheck(L, count <= S2SP_LUA_CRL_FILES_MAX, 1, "too many files");
	lua_createtable(L, (int)count, 0); /* of its own, so that nobody takes one away */
	struct s2sp_lua_crls *set = lua_newuserdatauv(L, sizeof(*set) + count * sizeof(set->files[0]), 1);
	set->count = 0;
	ssize_t got;
	do {
		got = getrandom(set->mark, sizeof(set->mark), 0);
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(set->mark))
		return luaL_error(L, "the system gives no random numbers");
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, 1, (lua_Integer)i + 1);
		set->files[set->count++] = check_file(L, -1);
		lua_rawseti(L, 2, (lua_Integer)i + 1);
	}
	lua_pushvalue(L, 2);
	lua_setiuservalue(L, 3, 1);
	luaL_setmetatable(L, SET_CLASS);
	return 1;
}

bool s2sp_lua_push_crls(lua_State *L, int guard, struct s2sp_text host, const struct s2sp_policy *policy,
						const struct s2sp_partner *partner, const struct s2sp_lua_crls **crls) {
	int top = lua_gettop(L);
	*crls = NULL;
	bool own = partner->addenda->crl_count > 0, wanted = own || s2sp_policy_host_crls(policy, partner);
	if (!wanted || s2sp_policy_revocation(policy, partner) == S2SP_REVOCATION_OFF) {
		lua_pushnil(L);
		return true;
	}
	s2sp_lua_field(L, guard, "trust");
	s2sp_lua_field(L, -1, "crls");
	if (lua_istable(L, -1)) {
		lua_pushlstring(L, host.bytes, host.length);
		lua_rawget(L, -2);
	}
	if (lua_istable(L, -1)) {
		lua_pushlstring(L, own ? partner->name.bytes : "", own ? partner->name.length : 0);
		lua_rawget(L, -2);
		*crls = s2sp_lua_test_crls(L, -1);
	}
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
	return *crls != NULL;
}

bool s2sp_lua_crls_mention(lua_State *L, int report, const struct s2sp_lua_crls *crls) {
	bool mentioned = false;
	struct s2sp_text links = { NULL, 0 };
	if (crls != NULL && lua_istable(L, report))
		links = s2sp_lua_text_field(L, report, "links");
	for (size_t i = 0; links.length > 0 && i < crls->count && !mentioned; i++)
		mentioned = s2sp_crl_file_mentions(crls->files[i], links);
	return mentioned;
}

static void add_partner(lua_State *L, const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	if (partner == NULL || (partner->addenda->crl_count == 0 && partner->revocation != S2SP_REVOCATION_REQUIRED))
		return;
	lua_createtable(L, 0, 5);
	s2sp_lua_push_place(L, partner);
	lua_setfield(L, -2, "place");
	lua_pushlstring(L, partner->name.bytes, partner->name.length);
	lua_setfield(L, -2, "partner");
	s2sp_lua_set_string(L, "revocation", s2sp_revocation_token(s2sp_policy_revocation(policy, partner)));
	s2sp_lua_set_boolean(L, "host_crls", s2sp_policy_host_crls(policy, partner));
	lua_newtable(L);
	for (size_t i = 0; i < partner->addenda->crl_count; i++) {
		lua_pushlstring(L, partner->addenda->crls[i].bytes, partner->addenda->crls[i].length);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "patterns");
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* partner_crls(policy) -> { { place, partner, revocation, host_crls, patterns = { ... } }... } of those that name lists or require them */
static int partner_crls(lua_State *L) {
	const struct s2sp_policy *policy = s2sp_lua_check_policy(L, 1);
	const struct s2sp_partner *partner;
	lua_newtable(L);
	for (size_t i = 0; (partner = s2sp_partner_table_at(s2sp_policy_table(policy), i)) != NULL; i++)
		add_partner(L, policy, partner);
	add_partner(L, policy, s2sp_policy_default(policy));
	return 1;
}

int s2sp_lua_open_crls(lua_State *L) {
	static const luaL_Reg reader_methods[] = { { "step", reader_step }, { NULL, NULL } };
	static const luaL_Reg file_methods[] = { { "counts", file_counts },   { "next_update", file_next_update },
											 { "begins", file_begins },   { "same", file_same },
											 { "follows", file_follows }, { NULL, NULL } };
	static const luaL_Reg set_methods[] = { { NULL, NULL } };
	static const luaL_Reg functions[] = {
		{ "crl_reader", crl_reader }, { "crl_set", crl_set }, { "partner_crls", partner_crls }, { NULL, NULL }
	};
	s2sp_lua_new_class(L, READER_CLASS, reader_methods, free_reader);
	s2sp_lua_new_class(L, FILE_CLASS, file_methods, free_file);
	s2sp_lua_new_class(L, SET_CLASS, set_methods, NULL);
	luaL_newlib(L, functions);
	s2sp_lua_set_integer(L, "crl_files_max", S2SP_LUA_CRL_FILES_MAX);
	return 1;
}
