/* Takes keys and items from the adapter and gives each to its section or list. Refuses those that have no place. */
#include "config_build.h"

static void speak_of(struct s2sp_config *config, struct s2sp_text key) {
	config->key = key;
	config->item = 0;
	config->item_name = (struct s2sp_text){ NULL, 0 };
	config->stray = false;
}

enum s2sp_status s2sp_config_close_list(struct s2sp_config *config) {
	enum s2sp_open open = config->open;
	const bool pins = open == S2SP_OPEN_PINNED_KEYS, crls = open == S2SP_OPEN_CRLS;
	config->open = S2SP_OPEN_NOTHING;
	speak_of(config, (struct s2sp_text){ NULL, 0 });
	if (config->open_items > 0 || open == S2SP_OPEN_NOTHING || open == S2SP_OPEN_USERS)
		return S2SP_STATUS_OK;
	config->draft.faulty |= 1u << (pins   ? S2SP_PARTNER_KEY_PINNED_KEYS
								   : crls ? S2SP_PARTNER_KEY_CRLS
										  : S2SP_PARTNER_KEY_ADDITIONAL_DOMAINS);
	return s2sp_config_report(config, &(struct s2sp_finding){
										  .code = "empty-list",
										  .key = pins   ? "pinned_keys"
												 : crls ? "crls"
														: "additional_domains",
										  .expected = pins   ? "the list is empty; name at least one pin or remove the key"
													  : crls ? "the list is empty; name at least one file or remove the key"
															 : "the list is empty; name at least one domain or remove the key",
									  });
}

enum s2sp_status s2sp_config_set(struct s2sp_config *config, struct s2sp_text key, const struct s2sp_value *value) {
	enum s2sp_status status = s2sp_config_close_list(config);
	if (status != S2SP_STATUS_OK)
		return status;
	speak_of(config, key);
	config->follows = S2SP_CONTENTS_NONE;
	if (config->nested)
		return s2sp_config_set_access(config, value);
	switch (config->section) {
	case S2SP_SECTION_PARTNER:
	case S2SP_SECTION_DEFAULT: return s2sp_config_set_partner(config, value);
	case S2SP_SECTION_LIMITS: return s2sp_config_set_limit(config, value);
	case S2SP_SECTION_ACCESS: return s2sp_config_set_access(config, value);
	case S2SP_SECTION_NONE:
	case S2SP_SECTION_LIST: break;
	}
	return S2SP_STATUS_OK;
}

static struct s2sp_text list_key(const struct s2sp_config *config) {
	switch (config->open) {
	case S2SP_OPEN_ADDITIONAL_DOMAINS: return S2SP_TEXT("additional_domains");
	case S2SP_OPEN_PINNED_KEYS: return S2SP_TEXT("pinned_keys");
	case S2SP_OPEN_CRLS: return S2SP_TEXT("crls");
	case S2SP_OPEN_USERS: return S2SP_TEXT("users");
	case S2SP_OPEN_NOTHING: break;
	}
	return (struct s2sp_text){ NULL, 0 };
}

enum s2sp_status s2sp_config_add(struct s2sp_config *config, size_t index, struct s2sp_text name,
								 const struct s2sp_value *value) {
	config->key = list_key(config);
	config->item = index;
	config->item_name = name;
	config->stray = false;
	config->open_items++;
	switch (config->open) {
	case S2SP_OPEN_ADDITIONAL_DOMAINS: return s2sp_config_add_domain(config, value);
	case S2SP_OPEN_PINNED_KEYS: return s2sp_config_add_pin(config, value);
	case S2SP_OPEN_CRLS: return s2sp_config_add_crl(config, value);
	case S2SP_OPEN_USERS: return s2sp_config_add_user(config, value);
	case S2SP_OPEN_NOTHING: break;
	}
	return S2SP_STATUS_OK;
}

static enum s2sp_status stray_partner(struct s2sp_config *config, struct s2sp_text key, const struct s2sp_value *value) {
	speak_of(config, key);
	if (!s2sp_config_is_partner_key(key))
		return s2sp_config_refuse(config, "stray-key", value, "a list of partners has no keys; remove it");
	/* One partner where a list must be: said once, not for every key of it. */
	if (config->not_a_list_told)
		return S2SP_STATUS_OK;
	config->not_a_list_told = true;
	return s2sp_config_refuse(config, "not-a-list", value, "one partner stands where a list of partners must be; {not_a_list}");
}

enum s2sp_status s2sp_config_stray(struct s2sp_config *config, struct s2sp_text key, const struct s2sp_value *value) {
	if (config->open == S2SP_OPEN_NOTHING)
		return stray_partner(config, key, value);
	speak_of(config, list_key(config));
	config->item_name = key;
	config->stray = true;
	config->open_items++;
	return s2sp_config_refuse(config, "stray-key", value,
							  config->open == S2SP_OPEN_USERS
								  ? "every user is a key with \"allow\" or \"deny\": users{is}{sample.users}"
								  : "a list has no keys; write its items one after the other: {sample.list}");
}

enum s2sp_status s2sp_config_gap(struct s2sp_config *config, size_t first, size_t last) {
	struct s2sp_line expected;
	speak_of(config, list_key(config));
	config->item = first;
	config->open_items++;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "nothing is there");
	if (last > first) {
		s2sp_line_add(&expected, " up to ");
		s2sp_config_path_index(&expected, last);
	}
	s2sp_line_add(&expected, ", but a list must have no holes; move the later entries up");
	return s2sp_config_refuse_told(config, "hole", NULL, &expected);
}

enum s2sp_status s2sp_config_issue(struct s2sp_config *config, enum s2sp_severity severity, const char *code,
								   struct s2sp_text path, struct s2sp_text got, struct s2sp_text expected) {
	struct s2sp_line lines[3];
	const struct s2sp_text texts[3] = { path, got, expected };
	for (size_t i = 0; i < 3; i++) {
		s2sp_line_begin(&lines[i]);
		s2sp_line_add_escaped(&lines[i], texts[i], S2SP_LINE_MAX - 8);
	}
	struct s2sp_issue_parts parts = {
		.severity = severity,
		.code = code,
		.path = s2sp_line_text(&lines[0]),
		.got = s2sp_line_text(&lines[1]),
		.expected = s2sp_line_text(&lines[2]),
		.nearest = NULL,
	};
	return s2sp_issues_add(&config->issues, &parts);
}
