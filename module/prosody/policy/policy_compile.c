/* From the administrator's tables to a partner table and a policy. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "idna.h"
#include "public_suffix.h"
#include "host_options.h"
#include "huge_pages.h"
#include "policy_object.h"
#include "policy_compile.h"
#include "policy_feed.h"
#include "prosody_vocabulary.h"
#include "values.h"

#define CONFIG_CLASS "s2s_partners.config"

static void *reallocate(void *owner, void *block, size_t size) {
	(void)owner;
	if (size == 0) {
		free(block);
		return NULL;
	}
	void *fresh = realloc(block, size);
	s2sp_prefer_huge_pages(fresh, size);
	return fresh;
}

static const struct s2sp_allocator allocator = { reallocate, NULL };

static int free_config(lua_State *L) {
	struct s2sp_config **slot = lua_touserdata(L, 1);
	s2sp_config_free(*slot);
	*slot = NULL;
	return 0;
}

struct s2sp_config **s2sp_lua_new_config(lua_State *L) {
	unsigned char seed[16];
	ssize_t got;
	struct s2sp_config **slot = lua_newuserdatauv(L, sizeof(struct s2sp_config *), 0);
	*slot = NULL;
	if (luaL_newmetatable(L, CONFIG_CLASS)) {
		lua_pushcfunction(L, free_config);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	do {
		got = getrandom(seed, sizeof(seed), 0);
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(seed))
		luaL_error(L, "the system gives no random numbers");
	*slot = s2sp_config_new(&allocator, s2sp_idna_to_ascii, &s2sp_prosody_vocabulary, seed);
	if (*slot == NULL)
		luaL_error(L, "not enough memory");
	s2sp_config_public_suffixes(*slot, s2sp_public_suffix);
	return slot;
}

/* A field of a table that our own Lua made. */
static int field(lua_State *L, int table, const char *name) {
	return lua_getfield(L, table, name);
}

static struct s2sp_text text_field(lua_State *L, int table, const char *name) {
	struct s2sp_text text = { NULL, 0 };
	if (field(L, table, name) == LUA_TSTRING)
		text.bytes = lua_tolstring(L, -1, &text.length);
	lua_pop(L, 1); /* the table keeps it */
	return text;
}

void s2sp_lua_feed_issues(lua_State *L, struct s2sp_config *config, int spec) {
	if (field(L, spec, "issues") == LUA_TTABLE) {
		for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
			int issue = lua_gettop(L);
			bool warning = s2sp_text_equal(text_field(L, issue, "severity"), S2SP_TEXT("warning"));
			struct s2sp_text code = text_field(L, issue, "code"); /* Lua's strings end in NUL */
			s2sp_lua_check_status(L, s2sp_config_issue(config, warning ? S2SP_SEVERITY_WARNING : S2SP_SEVERITY_ERROR,
													   code.length == 0 ? "option" : code.bytes, text_field(L, issue, "path"),
													   text_field(L, issue, "got"), text_field(L, issue, "expected")));
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void push_issues(lua_State *L, const struct s2sp_config *config) {
	size_t count = s2sp_config_issue_count(config);
	lua_createtable(L, (int)count, 0); /* capped by the core */
	for (size_t i = 0; i < count; i++) {
		const struct s2sp_issue *issue = s2sp_config_issue_at(config, i);
		lua_createtable(L, 0, 7);
		s2sp_lua_set_string(L, "severity", issue->severity == S2SP_SEVERITY_ERROR ? "error" : "warning");
		s2sp_lua_set_string(L, "code", issue->code);
		s2sp_lua_set_string(L, "path", issue->path);
		s2sp_lua_set_string(L, "got", issue->got);
		s2sp_lua_set_string(L, "expected", issue->expected);
		s2sp_lua_set_string(L, "nearest", issue->nearest);
		s2sp_lua_set_string(L, "message", issue->message);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

int s2sp_lua_give_back(lua_State *L, struct s2sp_config **config, enum s2sp_status status, int result) {
	s2sp_lua_check_status(L, status);
	if (status == S2SP_STATUS_OK)
		lua_pushvalue(L, result);
	else
		lua_pushnil(L);
	push_issues(L, *config);
	s2sp_config_free(*config);
	*config = NULL;
	return 2;
}

void s2sp_lua_feed_local_domains(lua_State *L, struct s2sp_config *config, int spec) {
	if (field(L, spec, "local_domains") == LUA_TTABLE) {
		for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
			struct s2sp_value value = s2sp_lua_value(L, -1);
			if (value.kind == S2SP_VALUE_STRING)
				s2sp_lua_check_status(L, s2sp_config_local_domain(config, value.string));
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void feed_lists(lua_State *L, struct s2sp_config *config, int spec) {
	if (field(L, spec, "lists") == LUA_TTABLE) {
		for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
			struct s2sp_text place = text_field(L, lua_gettop(L), "place");
			field(L, lua_gettop(L), "list");
			struct s2sp_value value = s2sp_lua_value(L, -1);
			s2sp_lua_check_status(L, s2sp_config_begin_list(config, place, &value));
			s2sp_lua_feed(L, config, -1);
			lua_pop(L, 2);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

/*
 * compile_table{ lists = { { place = "s2s_partners", list = ANY }, ... }, local_domains = { ... }, issues = { ... } }
 * -> partner table or nil, issues. An issue has severity, code, path, got, expected, nearest and message.
 */
int s2sp_lua_compile_table(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct s2sp_config **config = s2sp_lua_new_config(L);
	struct s2sp_partner_table **table = s2sp_lua_new_table(L);
	s2sp_lua_feed_local_domains(L, *config, 1);
	s2sp_lua_feed_issues(L, *config, 1);
	feed_lists(L, *config, 1);
	return s2sp_lua_give_back(L, config, s2sp_config_seal_table(*config, table), 3);
}

static bool boolean_field(lua_State *L, int table, const char *name, bool otherwise) {
	bool value = field(L, table, name) == LUA_TBOOLEAN ? lua_toboolean(L, -1) : otherwise;
	lua_pop(L, 1);
	return value;
}

/* The strings of a list, in a userdata that is pushed; they are kept alive by the list. */
static struct s2sp_text *text_list(lua_State *L, int table, const char *name, size_t *count) {
	*count = 0;
	if (field(L, table, name) != LUA_TTABLE)
		return NULL;
	size_t length = (size_t)lua_rawlen(L, -1);
	struct s2sp_text *texts = lua_newuserdatauv(L, (length + 1) * sizeof(*texts), 0);
	for (size_t i = 1; i <= length; i++) {
		lua_rawgeti(L, -2, (lua_Integer)i);
		struct s2sp_value value = s2sp_lua_value(L, -1);
		if (value.kind == S2SP_VALUE_STRING)
			texts[(*count)++] = value.string;
		lua_pop(L, 1);
	}
	return texts;
}

/* Whole seconds; 0 (unknown) for what is no time. */
static uint32_t seconds_field(lua_State *L, int table, const char *name) {
	lua_Number number = field(L, table, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
	lua_pop(L, 1);
	if (!(number > 0))
		return 0;
	return number >= UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

/* spec.options. What is pushed must stay on the stack while the options are in use. */
static struct s2sp_host_options read_options(lua_State *L, int spec) {
	struct s2sp_host_options options = { .require_encryption = true, .allow_encryption = true };
	if (field(L, spec, "options") != LUA_TTABLE)
		return options;
	int table = lua_gettop(L);
	options.require_encryption = boolean_field(L, table, "require_encryption", true);
	options.allow_encryption = boolean_field(L, table, "allow_encryption", true);
	options.secure_auth = boolean_field(L, table, "secure_auth", false);
	options.out_of_reach = boolean_field(L, table, "out_of_reach", false);
	options.without_tls = boolean_field(L, table, "without_tls", false);
	options.without_saslauth = boolean_field(L, table, "without_saslauth", false);
	options.without_dialback = boolean_field(L, table, "without_dialback", false);
	options.crls = boolean_field(L, table, "crls", false);
	options.s2s_timeout = seconds_field(L, table, "s2s_timeout");
	options.secure_domains = text_list(L, table, "secure_domains", &options.secure_domain_count);
	options.insecure_domains = text_list(L, table, "insecure_domains", &options.insecure_domain_count);
	return options;
}

typedef enum s2sp_status begin_function(struct s2sp_config *config, const struct s2sp_value *value);

static void feed_section(lua_State *L, struct s2sp_config *config, int spec, const char *name, begin_function *begin) {
	field(L, spec, name);
	struct s2sp_value value = s2sp_lua_value(L, -1);
	s2sp_lua_check_status(L, begin(config, &value));
	s2sp_lua_feed(L, config, -1);
	lua_pop(L, 1);
}

/*
 * compile_policy{ table = TABLE, default = ANY, limits = ANY, external_access = ANY, options = { require_encryption,
 * allow_encryption, secure_auth, secure_domains, insecure_domains, without_tls, without_saslauth, without_dialback (modules of core's),
 * out_of_reach, s2s_timeout, crls (whether the host has revocation lists) },
 * issues = { ... } } -> policy or nil, issues.
 */
int s2sp_lua_compile_policy(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct s2sp_config **config = s2sp_lua_new_config(L);
	struct s2sp_policy **policy = s2sp_lua_new_policy(L);
	field(L, 1, "table");
	const struct s2sp_partner_table *table = s2sp_lua_check_table(L, 4);
	lua_setiuservalue(L, 3, 1);
	s2sp_lua_feed_issues(L, *config, 1);
	feed_section(L, *config, 1, "default", s2sp_config_begin_default);
	feed_section(L, *config, 1, "limits", s2sp_config_begin_limits);
	feed_section(L, *config, 1, "external_access", s2sp_config_begin_external_access);
	struct s2sp_host_options options = read_options(L, 1);
	s2sp_lua_check_status(L, s2sp_host_options_tell(&options, *config));
	struct s2sp_host_rules rules;
	enum s2sp_status status = s2sp_host_rules_begin(&rules, &allocator, &options);
	if (status == S2SP_STATUS_OK)
		status = s2sp_config_seal_policy(*config, table, &rules.host, policy);
	s2sp_host_rules_end(&rules);
	return s2sp_lua_give_back(L, config, status, 3);
}
