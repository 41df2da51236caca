#include "config.h"

#include "config_build.h"

struct s2sp_config *s2sp_config_new(const struct s2sp_allocator *allocator, s2sp_domain_to_ascii *to_ascii,
									const struct s2sp_vocabulary *vocabulary, const unsigned char seed[16]) {
	struct s2sp_config *config = allocator->reallocate(allocator->owner, NULL, sizeof(*config));
	if (config == NULL)
		return NULL;
	memset(config, 0, sizeof(*config));
	config->allocator = *allocator;
	config->to_ascii = to_ascii;
	config->vocabulary = vocabulary;
	memcpy(config->seed, seed, sizeof(config->seed));
	s2sp_issues_begin(&config->issues, allocator);
	config->table = s2sp_partner_table_new(allocator, seed);
	config->policy = s2sp_policy_new(allocator, seed);
	if (config->table == NULL || config->policy == NULL) {
		s2sp_config_free(config);
		return NULL;
	}
	s2sp_config_limits_begin(&config->policy->limits);
	return config;
}

void s2sp_config_public_suffixes(struct s2sp_config *config, s2sp_domain_is_public *is_public) {
	config->is_public = is_public;
}

static void drop(struct s2sp_config *config, void *block) {
	if (block != NULL)
		config->allocator.reallocate(config->allocator.owner, block, 0);
}

void s2sp_config_free(struct s2sp_config *config) {
	if (config == NULL)
		return;
	s2sp_partner_table_free(config->table);
	s2sp_policy_free(config->policy);
	drop(config, config->draft.additional);
	drop(config, config->draft.pins);
	drop(config, config->draft.crls);
	s2sp_issues_end(&config->issues);
	drop(config, config);
}

enum s2sp_status s2sp_config_local_domain(struct s2sp_config *config, struct s2sp_text domain) {
	struct s2sp_domain parsed;
	if (config->table == NULL)
		return S2SP_STATUS_FAILED;
	if (s2sp_domain_parse(domain, config->to_ascii, &parsed) != S2SP_DOMAIN_OK)
		return S2SP_STATUS_OK;
	struct s2sp_text name = { parsed.bytes, parsed.length };
	if (s2sp_index_find(&config->table->domains, S2SP_NAME_EXACT, name) != S2SP_INDEX_NONE)
		return S2SP_STATUS_OK;
	enum s2sp_status status = s2sp_arena_copy(&config->table->arena, name, &name);
	if (status != S2SP_STATUS_OK)
		return status;
	return s2sp_index_add(&config->table->domains, S2SP_NAME_EXACT, name, S2SP_PARTNER_LOCAL);
}

static const char *word(const struct s2sp_config *config, enum s2sp_word which) {
	return config->vocabulary->words[which];
}

/* Ends the open section and starts `section` at the path `option`. */
static enum s2sp_status begin(struct s2sp_config *config, enum s2sp_section section, const char *option) {
	enum s2sp_status status = s2sp_config_close_list(config);
	if (config->nested)
		s2sp_config_close_access(config);
	if (status == S2SP_STATUS_OK && (config->section == S2SP_SECTION_PARTNER || config->section == S2SP_SECTION_DEFAULT))
		status = s2sp_config_draft_finish(config);
	if (status == S2SP_STATUS_OK && config->section == S2SP_SECTION_LIMITS)
		status = s2sp_config_limits_finish(config);
	config->section = section;
	config->follows = S2SP_CONTENTS_NONE;
	s2sp_line_begin(&config->path);
	s2sp_line_add(&config->path, option);
	return status;
}

/* Starts a section of keys. A value that is not compound becomes an issue that says `expected`. */
static enum s2sp_status begin_keys(struct s2sp_config *config, enum s2sp_section section, enum s2sp_word option,
								   const struct s2sp_value *value, const char *expected) {
	if (config->policy == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, word(config, option));
	if (status != S2SP_STATUS_OK || value->kind == S2SP_VALUE_ABSENT)
		return status;
	if (value->kind != S2SP_VALUE_COMPOUND) {
		return s2sp_config_report(
			config, &(struct s2sp_finding){ .code = "wrong-type", .value = value, .typed = true, .expected = expected });
	}
	config->section = section;
	config->follows = S2SP_CONTENTS_KEYS;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_begin_list(struct s2sp_config *config, struct s2sp_text place, const struct s2sp_value *value) {
	if (config->table == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, "");
	s2sp_line_add_escaped(&config->path, place, 4 * S2SP_QUOTED_MAX);
	if (status == S2SP_STATUS_OK)
		status = s2sp_arena_copy(&config->table->arena, s2sp_line_text(&config->path), &config->place);
	if (status != S2SP_STATUS_OK)
		return status;
	config->not_a_list_told = false;
	if (value->kind != S2SP_VALUE_COMPOUND) {
		return s2sp_config_report(config, &(struct s2sp_finding){
											  .code = "wrong-type",
											  .value = value,
											  .typed = true,
											  .expected = "must be a list of partners: {sample.partners}",
										  });
	}
	config->section = S2SP_SECTION_LIST;
	config->follows = S2SP_CONTENTS_PARTNERS;
	return S2SP_STATUS_OK;
}

/* Beyond this it is not worth the room that a wrong guess would take. */
#define EXPECTED_MAX ((double)(1 << 22))

static size_t expected(size_t count, double times) {
	double all = (double)count * times;
	return all > EXPECTED_MAX ? (size_t)EXPECTED_MAX : all > (double)count ? (size_t)all : count;
}

void s2sp_config_expect(struct s2sp_config *config, double times) {
	if (config->table != NULL)
		s2sp_partner_table_reserve(config->table, expected(config->table->count, times),
								   expected(config->table->domains.count, times));
}

/* Goes back from an entry to its list. */
static void return_to_list(struct s2sp_config *config) {
	config->section = S2SP_SECTION_LIST;
	s2sp_line_begin(&config->path);
	s2sp_line_add_text(&config->path, config->place);
}

enum s2sp_status s2sp_config_end(struct s2sp_config *config) {
	if (config->open == S2SP_OPEN_NOTHING && config->nested) {
		s2sp_config_close_access(config);
		return S2SP_STATUS_OK;
	}
	if (config->open != S2SP_OPEN_NOTHING || config->section != S2SP_SECTION_PARTNER)
		return s2sp_config_close_list(config);
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, "");
	return_to_list(config);
	return status;
}

static void begin_draft(struct s2sp_config *config, size_t index, struct s2sp_text name) {
	s2sp_line_add_text(&config->path, config->place);
	s2sp_config_path_index(&config->path, index);
	s2sp_config_draft_begin(config);
	config->draft.partner.place = config->place;
	config->draft.partner.entry =
		index > UINT32_MAX ? UINT32_MAX : (uint32_t)index; /* so many with holes only, which is an error */
	if (name.length > 0)
		s2sp_config_path_name(&config->path, name);
}

enum s2sp_status s2sp_config_begin_partner(struct s2sp_config *config, size_t index, const struct s2sp_value *value,
										   struct s2sp_text name) {
	if (config->table == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, "");
	if (status != S2SP_STATUS_OK)
		return status;
	begin_draft(config, index, name);
	if (value->kind != S2SP_VALUE_COMPOUND) {
		status = s2sp_config_report(config, &(struct s2sp_finding){
												.code = "not-a-mapping",
												.value = value,
												.typed = true,
												.expected = "a partner must be {mapping}: {sample.partner}",
											});
		return_to_list(config);
		return status;
	}
	config->section = S2SP_SECTION_PARTNER;
	config->follows = S2SP_CONTENTS_KEYS;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_begin_default(struct s2sp_config *config, const struct s2sp_value *value) {
	static const char *const words[] = { "refuse", NULL };
	if (config->policy == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, word(config, S2SP_WORD_OPTION_DEFAULT));
	if (status != S2SP_STATUS_OK || value->kind == S2SP_VALUE_ABSENT ||
		(value->kind == S2SP_VALUE_STRING && s2sp_text_equal(value->string, S2SP_TEXT("refuse"))))
		return status;
	if (value->kind != S2SP_VALUE_COMPOUND) {
		bool string = value->kind == S2SP_VALUE_STRING;
		return s2sp_config_report(config, &(struct s2sp_finding){
											  .code = string ? "unknown-value" : "wrong-type",
											  .value = value,
											  .typed = !string,
											  .expected = "must be \"refuse\" or {mapping} of settings for unlisted domains",
											  .nearest = string ? s2sp_nearest(value->string, words) : NULL,
										  });
	}
	s2sp_config_draft_begin(config);
	config->draft.partner.name = S2SP_TEXT("unlisted");
	config->draft.partner.place = s2sp_text_from(word(config, S2SP_WORD_OPTION_DEFAULT));
	config->section = S2SP_SECTION_DEFAULT;
	config->follows = S2SP_CONTENTS_KEYS;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_begin_limits(struct s2sp_config *config, const struct s2sp_value *value) {
	return begin_keys(config, S2SP_SECTION_LIMITS, S2SP_WORD_OPTION_LIMITS, value,
					  "must be {mapping} of limits: {sample.limits}");
}

enum s2sp_status s2sp_config_begin_external_access(struct s2sp_config *config, const struct s2sp_value *value) {
	if (config->policy == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status =
		begin_keys(config, S2SP_SECTION_ACCESS, S2SP_WORD_OPTION_EXTERNAL_ACCESS, value, "must be {mapping}: {sample.access}");
	config->access = &config->policy->access;
	return status;
}

enum s2sp_contents s2sp_config_follows(const struct s2sp_config *config) {
	return config->follows;
}

enum s2sp_status s2sp_config_seal_table(struct s2sp_config *config, struct s2sp_partner_table **table) {
	*table = NULL;
	if (config->table == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, "");
	if (status == S2SP_STATUS_OK && s2sp_issues_has_error(&config->issues))
		status = S2SP_STATUS_INVALID;
	if (status == S2SP_STATUS_OK) {
		*table = config->table;
		s2sp_partner_table_seal(*table);
	} else {
		s2sp_partner_table_free(config->table);
	}
	config->table = NULL;
	return status;
}

enum s2sp_status s2sp_config_seal_policy(struct s2sp_config *config, const struct s2sp_partner_table *table,
										 const struct s2sp_host *host, struct s2sp_policy **policy) {
	*policy = NULL;
	if (config->policy == NULL)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = begin(config, S2SP_SECTION_NONE, "");
	config->policy->table = table;
	config->policy->least_connections = s2sp_config_least_connections(config->policy);
	config->policy->out_of_reach = host != NULL && host->out_of_reach;
	config->policy->crls = host != NULL && host->crls;
	/* Where there are no streams, nothing is taken from them. */
	if (status == S2SP_STATUS_OK && !config->policy->out_of_reach)
		status = s2sp_config_constrain(config, host);
	if (status == S2SP_STATUS_OK && s2sp_issues_has_error(&config->issues))
		status = S2SP_STATUS_INVALID;
	if (status == S2SP_STATUS_OK)
		*policy = config->policy;
	else
		s2sp_policy_free(config->policy);
	config->policy = NULL;
	return status;
}

const struct s2sp_limits *s2sp_config_limits(const struct s2sp_config *config) {
	return config->policy == NULL ? NULL : &config->policy->limits;
}

size_t s2sp_config_issue_count(const struct s2sp_config *config) {
	return s2sp_issues_count(&config->issues);
}

const struct s2sp_issue *s2sp_config_issue_at(const struct s2sp_config *config, size_t index) {
	return s2sp_issues_at(&config->issues, index);
}
