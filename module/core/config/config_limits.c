/* The limits, and the access of local users to other servers. */
#include "ascii.h"
#include "config_build.h"

static const char *const limit_keys[] = { "connections",        "partner_connections", "establishment_timeout",
										  "inactivity_timeout", "keepalive_interval",  NULL };

void s2sp_config_limits_begin(struct s2sp_limits *limits) {
	*limits = (struct s2sp_limits){
		.connections = 1000,
		.partner_connections = 20,
		.establishment_timeout = 60,
		.inactivity_timeout = 600,
		.keepalive_interval = 300,
	};
}

enum s2sp_status s2sp_config_set_limit(struct s2sp_config *config, const struct s2sp_value *value) {
	struct s2sp_limits *limits = &config->policy->limits;
	uint32_t *const numbers[] = { &limits->connections, &limits->partner_connections, &limits->establishment_timeout,
								  &limits->inactivity_timeout, &limits->keepalive_interval };
	bool taken;
	for (size_t i = 0; limit_keys[i] != NULL; i++) {
		if (s2sp_text_equal(config->key, s2sp_text_from(limit_keys[i])))
			return s2sp_config_integer(config, value, numbers[i], &taken);
	}
	return s2sp_config_unknown_key(config, value, limit_keys);
}

enum s2sp_status s2sp_config_limits_finish(struct s2sp_config *config) {
	const struct s2sp_limits *limits = &config->policy->limits;
	/* A limit that was refused stands at its default here: nothing follows from that. */
	if (limits->partner_connections <= limits->connections || s2sp_issues_has_error(&config->issues))
		return S2SP_STATUS_OK;
	struct s2sp_value value = { .kind = S2SP_VALUE_NUMBER, .number = limits->partner_connections };
	struct s2sp_line expected;
	s2sp_line_begin(&config->path);
	s2sp_line_add(&config->path, config->vocabulary->words[S2SP_WORD_OPTION_LIMITS]);
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "never reached, all partners together may have ");
	s2sp_line_add_number(&expected, limits->connections);
	s2sp_line_add(&expected, "; lower it, or raise connections");
	return s2sp_config_report(config, &(struct s2sp_finding){
										  .severity = S2SP_SEVERITY_WARNING,
										  .code = "limit-never-reached",
										  .key = "partner_connections",
										  .value = &value,
										  .told = &expected,
									  });
}

uint32_t s2sp_config_least_connections(const struct s2sp_policy *policy) {
	uint32_t least = policy->limits.partner_connections;
	for (size_t i = 0; i < policy->table->count; i++) {
		uint32_t own = policy->table->partners[i].connection_limit;
		if (own > 0 && own < least)
			least = own;
	}
	uint32_t of_default = policy->has_default ? policy->default_partner.connection_limit : 0;
	return of_default > 0 && of_default < least ? of_default : least;
}

static const char *const access_words[] = { "allow", "deny", NULL };

enum s2sp_status s2sp_config_set_access(struct s2sp_config *config, const struct s2sp_value *value) {
	static const char *const keys[] = { "default", "users", NULL };
	size_t word;
	bool taken;
	if (s2sp_text_equal(config->key, S2SP_TEXT("default"))) {
		enum s2sp_status status = s2sp_config_word(config, value, access_words, &word, &taken);
		if (taken)
			config->access->allowed = word == 0;
		return status;
	}
	if (!s2sp_text_equal(config->key, S2SP_TEXT("users")))
		return s2sp_config_unknown_key(config, value, keys);
	if (value->kind != S2SP_VALUE_COMPOUND) {
		return s2sp_config_report(config, &(struct s2sp_finding){
											  .code = "wrong-type",
											  .value = value,
											  .typed = true,
											  .expected = "must be {mapping} of user names: {sample.users}",
										  });
	}
	config->open = S2SP_OPEN_USERS;
	config->open_items = 0;
	config->follows = S2SP_CONTENTS_MAP;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_open_access(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	*taken = value->kind == S2SP_VALUE_COMPOUND;
	if (!*taken) {
		return s2sp_config_report(config, &(struct s2sp_finding){
											  .code = "wrong-type",
											  .value = value,
											  .typed = true,
											  .expected = "must be {mapping}: {sample.access}",
										  });
	}
	struct s2sp_access_list *access = s2sp_arena_take(s2sp_config_arena(config), sizeof(*access));
	if (access == NULL)
		return S2SP_STATUS_NO_MEMORY;
	struct s2sp_access_list **all =
		config->section == S2SP_SECTION_DEFAULT ? &config->policy->access.next : &config->table->accesses;
	s2sp_access_begin(access, &config->allocator, config->seed);
	access->next = *all;
	*all = access;
	config->draft.addenda.access = access;
	config->draft.partner.narrowed = true;
	config->access = access;
	config->nested = true;
	config->outer = config->path.length;
	s2sp_line_add(&config->path, ".");
	s2sp_line_add_text(&config->path, config->key);
	config->follows = S2SP_CONTENTS_KEYS;
	return S2SP_STATUS_OK;
}

void s2sp_config_close_access(struct s2sp_config *config) {
	config->nested = false;
	config->path.length = config->outer;
	config->path.bytes[config->outer] = '\0';
}

/* What RFC 7622 3.3.1 and RFC 3920 A.5 forbid in a localpart; the profile itself is the host's business. */
static bool is_localpart(struct s2sp_text name) {
	if (name.length == 0 || name.length > 1023)
		return false;
	while (name.length > 0) {
		size_t length = s2sp_utf8_character(name);
		if (length == 0 || !s2sp_utf8_printable(name, length))
			return false;
		if (length == 1 && memchr(" \"&'/:<>@", name.bytes[0], 9) != NULL)
			return false;
		name.bytes += length;
		name.length -= length;
	}
	return true;
}

enum s2sp_status s2sp_config_add_user(struct s2sp_config *config, const struct s2sp_value *value) {
	char folded[1023];
	struct s2sp_text name = config->item_name;
	size_t word;
	bool taken;
	if (!is_localpart(name)) {
		bool jid = name.length > 0 && memchr(name.bytes, '@', name.length) != NULL;
		return s2sp_config_refuse(config, "bad-user", value,
								  jid ? "must be the name of a local user, without \"@\" and domain"
									  : "must be the name of a local user");
	}
	enum s2sp_status status = s2sp_config_word(config, value, access_words, &word, &taken);
	if (!taken)
		return status;
	for (size_t i = 0; i < name.length; i++)
		folded[i] = s2sp_ascii_fold(name.bytes[i]);
	name.bytes = folded;
	if (s2sp_index_find(&config->access->users, 0, name) != S2SP_INDEX_NONE)
		return s2sp_config_refuse(config, "duplicate-user", value,
								  "this user is named already, case does not count; remove one of the two");
	status = s2sp_arena_copy(s2sp_config_arena(config), name, &name);
	if (status != S2SP_STATUS_OK)
		return status;
	return s2sp_index_add(&config->access->users, 0, name, word == 0 ? 1 : 0);
}
